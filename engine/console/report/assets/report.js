"use strict";
// Draws the page from one document of plain values. Text only ever goes in as text, never as markup.

const $ = (id) => document.getElementById(id);
const PAGE_CARDS = 60;
const VIDEOS_MAX = 24;
const NAMES = {
  succeeded: "succeeded", failed: "failed", invalid: "invalid", unknown: "unknown", held: "held",
  in_flight: "in flight", remaining: "waiting",
};
const number = new Intl.NumberFormat("en-US");
const money = new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const stamp = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

const state = { data: null, shown: [], cards: 0, place: "", words: "" };

/** Make an element with properties and children; text children are text. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svg(tag, attributes = {}, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds * 10) / 10} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

// --- the whole page ---------------------------------------------------------------------------------

function render(data) {
  state.data = data;
  drawFigures(data);
  drawPlaces(data.jobs);
  drawPage(data);
  filter();
}

/** Draw all but the gallery. */
function drawFigures(data) {
  drawHeadline(data);
  drawPromises(data.promises);
  drawTimeline(data.timeline);
  drawHistograms(data);
  drawFailures(data);
  drawUnknown(data);
}

function drawHeadline(data) {
  const found = data.survey;
  const offset = new Date().toTimeString().match(/GMT[+-]\d{4}/)?.[0] ?? "";
  const at = `${stamp.format(data.made_utc * 1000)} ${offset}`;
  $("asof").textContent = data.running ? `as of ${at}, while ${data.running}` : `as of ${at}`;
  $("stopped").hidden = !data.stopped;
  $("stopped").textContent = data.stopped ? `Stopped early: ${data.stopped.message}${data.stopped.hint ? `; ${data.stopped.hint}` : ""}` : "";
  const tiles = [
    [number.format(found.succeeded), `of ${number.format(found.lines)} succeeded`, "good"],
    [number.format(found.failed + found.invalid), `failed ${number.format(found.failed)}, invalid ${number.format(found.invalid)}`,
      found.failed + found.invalid ? "bad" : ""],
    [number.format(found.in_flight + found.remaining), `in flight ${number.format(found.in_flight)}, waiting ${number.format(found.remaining)}`, ""],
    [number.format(found.unknown + found.held), `unknown ${number.format(found.unknown)}, held ${number.format(found.held)}`,
      found.unknown + found.held ? "wait" : ""],
    [money.format(found.spent_usd), `spent, ${money.format(found.reserved_usd)} reserved`, ""],
    [data.wall_s === null ? "–" : duration(data.wall_s), "from first submission to last file", ""],
    [data.finished_per_hour === null ? "–" : number.format(Math.round(data.finished_per_hour)), "jobs an hour", ""],
    [`${number.format(Math.round(found.media_bytes / 1e5) / 10)} MB`, "of media", ""],
  ];
  $("tiles").replaceChildren(...tiles.map(([value, words, kind]) =>
    element("div", { className: `tile ${kind}` }, element("b", {}, value), element("span", {}, words))));
  $("verify").textContent = data.commands.verify;
}

function drawPromises(promises) {
  $("promises").replaceChildren(...promises.map((promise) =>
    element("li", { className: promise.kept ? "" : "broken" },
      element("span", { className: "mark", "aria-hidden": "true" }, promise.kept ? "✓" : "✗"),
      element("span", {}, promise.kept ? "" : "Broken: ", promise.promise,
        element("small", {}, promise.shown_by)))));
}

// --- charts -----------------------------------------------------------------------------------------

const HIGH = 150;
let WIDE = 600;
const ROOM = { left: 40, right: 8, top: 8, bottom: 20 };

/** Draw at the very width a chart will have in its place, so that its words keep their size. */
function measure(place, columns) {
  const narrow = matchMedia("(max-width: 760px)").matches;
  WIDE = Math.max(240, Math.floor($(place).clientWidth / (narrow ? 1 : columns)) - 42);
}

function frame(title, words, label) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label });
  const words_ = element("p", {}, words);
  return { box: element("div", { className: "chart" }, element("h3", {}, title), words_, drawing), drawing };
}

function nice(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function axes(drawing, top, texts, format) {
  const y = (value) => HIGH - ROOM.bottom - (value / top) * (HIGH - ROOM.top - ROOM.bottom);
  for (const value of [0, top / 2, top]) {
    drawing.append(svg("line", { class: "axis", x1: ROOM.left, x2: WIDE - ROOM.right, y1: y(value), y2: y(value) }));
    drawing.append(svg("text", { x: ROOM.left - 6, y: y(value) + 4, "text-anchor": "end" }, format(value)));
  }
  texts.forEach(([share, text], place) => drawing.append(svg("text", {
    x: ROOM.left + share * (WIDE - ROOM.left - ROOM.right), y: HIGH - 4,
    "text-anchor": place === 0 ? "start" : place === texts.length - 1 ? "end" : "middle",
  }, text)));
  return y;
}

function short(value) {
  if (value >= 10000) return `${Math.round(value / 1000)}k`;
  return value >= 1000 ? `${Math.round(value / 100) / 10}k` : String(Math.round(value * 100) / 100);
}

function timeTexts(buckets) {
  const format = buckets.at(-1).utc - buckets[0].utc < 600 ? seconds : clock;
  return [0, 0.5, 1].map((share) =>
    [share, format.format(buckets[Math.round(share * (buckets.length - 1))].utc * 1000)]);
}

function bars(title, words, buckets, read, kind) {
  const values = buckets.map(read);
  const { box, drawing } = frame(title, words, `${title}. ${words}`);
  const top = nice(Math.max(...values, 1));
  const y = axes(drawing, top, timeTexts(buckets), short);
  const step = (WIDE - ROOM.left - ROOM.right) / values.length;
  values.forEach((value, place) => {
    if (value) drawing.append(svg("rect", {
      class: `bar ${kind}`, x: ROOM.left + place * step, width: Math.max(step - (step > 4 ? 1 : 0), 0.8),
      y: y(value), height: Math.max(y(0) - y(value), 1),
    }));
  });
  return box;
}

function curve(title, words, buckets, read, kind, format = short) {
  const values = buckets.map(read);
  const { box, drawing } = frame(title, words, `${title}. ${words}`);
  const top = nice(Math.max(...values, 0));
  const y = axes(drawing, top, timeTexts(buckets), format);
  const x = (place) => ROOM.left + (values.length === 1 ? 0 : place / (values.length - 1)) * (WIDE - ROOM.left - ROOM.right);
  const points = values.map((value, place) => `${x(place).toFixed(1)},${y(value).toFixed(1)}`).join(" L");
  drawing.append(svg("path", { class: `area ${kind}`, d: `M${x(0)},${y(0)} L${points} L${x(values.length - 1)},${y(0)}Z` }));
  drawing.append(svg("path", { class: `curve ${kind}`, d: `M${points}` }));
  return box;
}

function drawTimeline(buckets) {
  if (!buckets.length) {
    $("timeline").replaceChildren(element("p", { className: "empty" }, "Nothing was submitted yet."));
    return;
  }
  measure("timeline", 2);
  const sum = (read) => buckets.reduce((total, bucket) => total + read(bucket), 0);
  const peak = Math.max(...buckets.map((bucket) => bucket.in_flight));
  const throttled = sum((bucket) => bucket.throttled);
  $("timeline").replaceChildren(
    curve("In flight", `at most ${number.format(peak)} at once`, buckets, (bucket) => bucket.in_flight, ""),
    curve("Money", `${money.format(buckets.at(-1).spent_usd)} in the end`, buckets, (bucket) => bucket.spent_usd, "good",
      (value) => `$${short(value)}`),
    bars("Submitted", `${number.format(sum((bucket) => bucket.submitted))} in all`, buckets, (bucket) => bucket.submitted, ""),
    bars("Completed", `${number.format(sum((bucket) => bucket.completed))} in all`, buckets, (bucket) => bucket.completed, "good"),
    ...(throttled ? [bars("429s", `${number.format(throttled)} in all`, buckets, (bucket) => bucket.throttled, "bad")] : []),
  );
}

function histogram(title, found, format) {
  const words = `half below ${format(found.median)}, 95 % below ${format(found.p95)}`;
  const { box, drawing } = frame(title, words, `${title}: ${words}`);
  const top = nice(Math.max(...found.counts));
  const last = found.edges.at(-1);
  const y = axes(drawing, top, [[0, format(0)], [0.5, format(last / 2)], [1, format(last)]], short);
  const inner = WIDE - ROOM.left - ROOM.right;
  const step = inner / found.counts.length;
  found.counts.forEach((count, place) => {
    if (count) drawing.append(svg("rect", {
      class: "bar", x: ROOM.left + place * step, width: Math.max(step - 1, 1), y: y(count), height: Math.max(y(0) - y(count), 1),
    }));
  });
  const at = ROOM.left + Math.min(found.median / last, 1) * inner;
  drawing.append(svg("line", { class: "hair", x1: at, x2: at, y1: ROOM.top, y2: HIGH - ROOM.bottom }));
  return box;
}

function drawHistograms(data) {
  measure("histograms", 3);
  const drawn = [
    ["How long a job took", data.durations, duration],
    ["How late it was seen", data.lags, duration],
    ["Polls a job", data.polls, (value) => String(Math.round(value * 10) / 10)],
  ].filter(([, found]) => found).map((entry) => histogram(...entry));
  $("histograms").replaceChildren(...(drawn.length ? drawn
    : [element("p", { className: "empty" }, "No job is finished yet.")]));
}

// --- what went wrong --------------------------------------------------------------------------------

function drawFailures(data) {
  const causes = data.survey.causes;
  $("failures-section").hidden = !causes.length;
  $("failures").replaceChildren(...causes.map((cause) => {
    const who = cause.example_id ? `line ${cause.example_line}, “${cause.example_id}”` : `line ${cause.example_line}`;
    return element("div", { className: "failure" },
      element("div", {}, element("b", {}, `${number.format(cause.jobs)} ${cause.kind}`), ` (${cause.status})`),
      element("blockquote", {}, "for example ", element("bdi", {}, who), ": ", element("bdi", {}, cause.example_message)),
      cause.status === "failed" ? element("div", {}, "Again: ", element("code", {}, data.commands.retry + cause.kind)) : null);
  }));
}

function drawUnknown(data) {
  const found = data.survey;
  $("unknown-section").hidden = !found.unknown;
  const risk = found.at_risk_usd === null ? "of unknown value" : money.format(found.at_risk_usd);
  $("unknown").replaceChildren(
    `${number.format(found.unknown)} submissions have an unknown outcome, ${risk} at risk. `,
    "They are never submitted again blindly; going on looks them up in the provider's history: ",
    element("code", {}, data.commands.resume));
}

// --- the gallery ------------------------------------------------------------------------------------

function drawPlaces(jobs) {
  const counts = {};
  for (const job of jobs) counts[job.place] = (counts[job.place] ?? 0) + 1;
  const chip = (place, words) => {
    const made = element("button", { type: "button", className: "chip" }, words);
    made.setAttribute("aria-pressed", String(state.place === place));
    made.addEventListener("click", () => { state.place = place; drawPlaces(jobs); filter(); });
    return made;
  };
  $("places").replaceChildren(
    chip("", `all ${number.format(jobs.length)}`),
    ...Object.keys(NAMES).filter((place) => counts[place])
      .map((place) => chip(place, `${NAMES[place]} ${number.format(counts[place])}`)));
}

/** Say which part of a large batch the gallery holds, and how to come to the next. */
function drawPage({ jobs, survey, commands, next_line }) {
  $("page").hidden = jobs.length >= survey.lines;
  if ($("page").hidden) return;
  const lines = jobs.length ? `lines ${number.format(jobs[0].line)} to ${number.format(jobs.at(-1).line)}` : "no job";
  const words = `This page has ${lines} of ${number.format(survey.lines)} jobs. `;
  if (next_line === null) $("page").replaceChildren(words, "It is the last one.");
  else if ("live" in document.body.dataset) {
    $("page").replaceChildren(words, element("a", { href: `?from_line=${next_line}` }, "The next page"));
  } else $("page").replaceChildren(words, "The next one: ", element("code", {}, commands.report + next_line));
}

function matches(job, words) {
  if (state.place && job.place !== state.place) return false;
  job.haystack ??= `${job.id}\n${job.prompt}\n${job.error?.kind ?? ""} ${job.error?.message ?? ""}`.toLowerCase();
  return words.every((word) => job.haystack.includes(word));
}

function filter() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  state.shown = state.data.jobs.filter((job) => matches(job, words));
  state.cards = 0;
  const { jobs, survey } = state.data;
  const among = jobs.length < survey.lines ? `${number.format(jobs.length)} jobs of this page` : number.format(jobs.length);
  $("count").textContent = `${number.format(state.shown.length)} of ${among}`;
  $("grid").replaceChildren();
  if (!state.shown.length) $("grid").append(element("p", { className: "empty" }, "No job is like this."));
  more();
}

/** Add a page of cards; called again whenever the end of the grid comes near. */
function more() {
  const next = state.shown.slice(state.cards, state.cards + PAGE_CARDS);
  state.cards += next.length;
  $("grid").append(...next.map(card));
}

function card(job) {
  const frame_ = element("div", { className: "frame" });
  const [file] = job.files;
  if (file) {
    frame_.job = job;
    near.observe(frame_);
  } else {
    frame_.append(element("span", {}, NAMES[job.place] ?? job.place));
  }
  const open = element("button", { type: "button" }, "Record");
  open.addEventListener("click", () => showRecord(job));
  const facts = [job.cost_usd ? money.format(job.cost_usd) : "", job.duration_s === null ? "" : duration(job.duration_s)];
  return element("article", { className: "card" }, frame_,
    element("div", { className: "words" },
      element("div", { className: "id" }, element("span", { className: `dot ${job.place}`, title: NAMES[job.place] ?? job.place }),
        element("bdi", {}, job.id || `line ${job.line}`)),
      job.error ? element("div", { className: "error" }, element("bdi", {}, `${job.error.kind}: ${job.error.message}`)) : null,
      element("div", { className: "prompt" }, element("bdi", {}, job.prompt))),
    element("div", { className: "foot" }, element("span", {}, facts.filter(Boolean).join(" · ")),
      element("span", {}, file && !inStore(file[0]) ? element("a", { href: file[0], target: "_blank", rel: "noopener" }, "Open") : "", " ", open)));
}

/** Tell whether an address is that of an object in a store, which a browser cannot open. */
const inStore = (address) => /^(s3|gs|az):/.test(address);

/** Return the element that shows a file. */
function media([address, kind], { muted = true } = {}) {
  if (inStore(address)) return element("span", { className: "uri" }, element("bdi", {}, address));
  if (kind.startsWith("image/")) return element("img", { src: address, alt: "", loading: "lazy", decoding: "async" });
  if (kind.startsWith("audio/")) return element("audio", { src: address, controls: true, preload: "none" });
  if (kind.startsWith("video/")) {
    return element("video", { src: `${address}#t=0.1`, controls: true, muted, preload: "metadata", playsInline: true });
  }
  return element("span", {}, kind);
}

// Only what is near the window has a player, and never more than a few dozen of them.
const players = [];
const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && !target.firstChild) {
      target.append(media(target.job.files[0]));
      players.push(target);
      while (players.length > VIDEOS_MAX) release(players.shift());
    } else if (!isIntersecting && target.firstChild?.paused !== false) {
      release(target);
      players.splice(players.indexOf(target), players.includes(target) ? 1 : 0);
    }
  }
}, { rootMargin: "300px" });

function release(frame_) {
  const player = frame_.firstChild;
  if (!player) return;
  if ("src" in player && player.load) { player.removeAttribute("src"); player.load(); }
  frame_.replaceChildren();
}

function showRecord(job) {
  const { haystack, ...record } = job;
  $("record-title").replaceChildren(element("bdi", {}, job.id || `line ${job.line}`));
  $("record-media").replaceChildren(...job.files.map((file) => media(file, { muted: false })));
  $("record-text").textContent = JSON.stringify(record, null, 2);
  $("record").showModal();
}

// --- controls ---------------------------------------------------------------------------------------

$("record").addEventListener("close", () => $("record-media").replaceChildren());
$("filters").addEventListener("submit", (event) => event.preventDefault());
let pause = 0;
$("search").addEventListener("input", () => {
  clearTimeout(pause);
  pause = setTimeout(() => { state.words = $("search").value; filter(); }, 80);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== $("search") && !$("record").open) {
    event.preventDefault();
    $("search").focus();
  }
});
$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
});
new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting) && state.cards < state.shown.length) more();
}, { rootMargin: "1200px" }).observe($("more"));

let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { drawTimeline(state.data.timeline); drawHistograms(state.data); }, 150);
});

render(JSON.parse($("data").textContent));

// --- live -------------------------------------------------------------------------------------------

const LOOK_MS = 2000;
const JOBS_MS = 10000;
const REST = 20;
const live = { jobsAt: Date.now(), decided: 0 };

function decidedOf(found) {
  return found.succeeded + found.failed + found.invalid + found.unknown;
}

/** Ask for newer figures; the jobs, which are nearly all of it, only when some were decided and not too often. */
async function look() {
  const due = Date.now() - live.jobsAt > JOBS_MS && decidedOf(state.data.survey) !== live.decided;
  const began = performance.now();
  try {
    const page = new URLSearchParams(location.search);
    if (due) page.set("jobs", "");
    const reply = await fetch(`data.json?${page}`, { cache: "no-store" });
    if (!reply.ok) throw new Error(String(reply.status));
    update(await reply.json());
  } catch {
    $("live").textContent = "nobody answers any more";
  }
  // Of a million jobs the figures take seconds to read: looking must stay a small part of what the machine does.
  setTimeout(look, Math.max(LOOK_MS, REST * (performance.now() - began)));
}

function update(data) {
  const jobs = data.jobs ?? state.data.jobs;
  state.data = { next_line: state.data.next_line, ...data, jobs };
  drawFigures(data);
  $("live").textContent = data.running ? (data.paused ? "live, paused" : "live") : "nobody works on it";
  $("pause").textContent = data.paused ? "Resume" : "Pause";
  $("pause").setAttribute("aria-pressed", String(data.paused));
  $("drain").disabled = !data.running;
  if (!data.jobs) return;
  live.jobsAt = Date.now();
  live.decided = decidedOf(data.survey);
  drawPlaces(jobs);
  drawPage(state.data);
  // Whoever looks at the gallery keeps what is there; the rest of the page is redrawn under them.
  const looking = scrollY > $("grid").offsetTop || [...document.querySelectorAll("video")].some((video) => !video.paused);
  if (!looking) filter();
}

async function ask(action) {
  await fetch("control", { method: "POST", body: JSON.stringify({ action }) });
  $("live").textContent = `asked to ${action}`;
}

if ("live" in document.body.dataset) {
  $("pause").addEventListener("click", () => ask($("pause").getAttribute("aria-pressed") === "true" ? "resume" : "pause"));
  $("drain").addEventListener("click", () => {
    if (confirm("Submit nothing new, and end the run once everything in flight is home?")) ask("drain");
  });
  look();
}
