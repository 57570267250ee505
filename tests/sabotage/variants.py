"""Known-bad variants of the engine: each breaks one promise on purpose, and names the test that must notice.

A variant is a replacement in one file. Its text must stand there exactly once, so that a variant which no longer
fits the code is seen at once.
"""

from __future__ import annotations

from typing import NamedTuple


class Variant(NamedTuple):
    """One sabotage.

    Attributes:
        name: what is done, in a few words.
        promise: which promise it breaks.
        file: in which file.
        text, instead: what stands there, and what is put in its place.
        test: which test must fail.
    """

    name: str
    promise: str
    file: str
    text: str
    instead: str
    test: str


VARIANTS = (
    Variant(
        "no intent before the POST",
        "one paid submission per job",
        "engine/scheduling/life.py",
        "        await self._ledger.intend(flight.job, attempt, utc=flight.intent_utc, price_usd=flight.price_usd)\n"
        "        verdict = await self._provider.submit(flight.model, decode_json(flight.params))\n",
        "        verdict = await self._provider.submit(flight.model, decode_json(flight.params))\n"
        "        await self._ledger.intend(flight.job, attempt, utc=flight.intent_utc, price_usd=flight.price_usd)\n",
        "tests/scheduling/test_life.py::test_the_intent_is_durable_before_the_post",
    ),
    Variant(
        "no grace before an absent submission is submitted again",
        "one paid submission per job",
        "engine/scheduling/reconciler.py",
        "        return self._age_s(case) >= self._grace_s\n",
        "        return True\n",
        "tests/runs/test_grace.py"
        "::test_within_the_grace_a_lost_submission_is_adopted_although_the_policy_is_to_submit_again",
    ),
    Variant(
        "absent is whatever the history does not show yet",
        "one paid submission per job",
        "engine/scheduling/reconciliation.py",
        "    return any(\n        (mine := ours.get(row.request_id)) is not None",
        "    return True or any(\n        (mine := ours.get(row.request_id)) is not None",
        "tests/runs/test_unknown_outcomes.py::test_without_a_later_submission_there_is_no_proof_and_the_run_says_so",
    ),
    Variant(
        "a lost reply is taken for a request that was never sent",
        "one paid submission per job",
        "engine/provider/verdicts.py",
        "return UnknownOutcome(reply.reason) if reply.sent else NotSent(reply.reason)",
        "return NotSent(reply.reason)",
        "tests/provider/test_verdicts.py::test_a_lost_reply_is_unknown_and_an_unsent_request_is_not",
    ),
    Variant(
        "a 502 is a reason to submit again",
        "one paid submission per job",
        "engine/provider/verdicts.py",
        "        case 500 if reply.object():\n",
        "        case 500 | 502 | 503 | 504:\n",
        "tests/provider/test_verdicts.py::test_an_edge_that_fails_leaves_the_outcome_unknown",
    ),
    Variant(
        "redirects of a POST are followed",
        "one paid submission per job; the key goes to the API alone",
        "engine/provider/http.py",
        "allow_redirects=False,",
        "allow_redirects=True,",
        "tests/provider/test_http.py::test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else",
    ),
    Variant(
        "a malformed reply is believed to be a 400 of the server",
        "only the server's own word fails a job",
        "engine/provider/http.py",
        "        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError,",
        "        except aiohttp.ClientResponseError as error:\n"
        '            return Reply(error.status, {}, b"")\n'
        "        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError,",
        "tests/provider/test_http.py::test_a_malformed_reply_decides_nothing",
    ),
    Variant(
        "submissions go over pooled connections",
        "one paid submission per job",
        "engine/provider/http.py",
        "self._submits = self._session(force_close=True)",
        "self._submits = self._session(force_close=False)",
        "tests/provider/test_http.py::test_each_submission_has_a_connection_of_its_own_and_readings_share_theirs",
    ),
    Variant(
        "files are not synced",
        "a recorded file survives a power cut",
        "engine/ledger/durable.py",
        "        os.fsync(fd)  # noqa: TID251 (this is the file that durability lives in)\n",
        "        pass\n",
        "tests/ledger/test_durable.py::test_a_replacement_is_synced_named_and_synced_again",
    ),
    Variant(
        "a directory is not synced after a rename",
        "a recorded file survives a power cut",
        "engine/ledger/durable.py",
        "    os.rename(part, target)  # noqa: PTH104, TID251 (this is the file that durability lives in)\n"
        "    sync_directory(target.parent)\n",
        "    os.rename(part, target)  # noqa: PTH104, TID251 (this is the file that durability lives in)\n",
        "tests/ledger/test_durable.py::test_a_published_file_has_its_name_before_the_directory_is_synced",
    ),
    Variant(
        "a failed sync is tried again",
        "a failed sync is final",
        "engine/ledger/durable.py",
        "    except OSError as error:\n        raise StorageError(\n"
        '            f"the disk refused to make written data durable ({error.strerror})",',
        "    except OSError as error:\n        os.fsync(fd)\n        return\n        raise StorageError(\n"
        '            f"the disk refused to make written data durable ({error.strerror})",',
        "tests/ledger/test_durable.py::test_a_failed_sync_is_final_and_not_tried_again",
    ),
    Variant(
        "the output is not cut back to what was recorded",
        "one output line per input line, never torn",
        "engine/ledger/result_writer.py",
        "        if size_bytes > mark.bytes:\n            cut(fd, mark.bytes)\n",
        "",
        "tests/ledger/test_result_writer.py::test_what_lies_behind_the_mark_is_cut_off_and_written_again",
    ),
    Variant(
        "an edited output is taken as it is",
        "the database is the truth, the output a projection",
        "engine/ledger/result_writer.py",
        "if mark.bytes and _digest(",
        "if not mark.bytes and _digest(",
        "tests/ledger/test_result_writer.py::test_a_changed_output_is_refused_untouched_and_can_be_rebuilt",
    ),
    Variant(
        "lines are split wherever Unicode breaks one",
        "what you wrote is what is sent",
        "engine/job/line_splitter.py",
        'first, *rest = block.split(b"\\n")',
        'first, *rest = [part.encode() for part in block.decode(errors="replace").splitlines()] or [b""]',
        "tests/ledger/test_job_reader.py::test_lines_that_break_only_at_other_separators_are_one_line",
    ),
    Variant(
        "the last of two equal keys wins",
        "what you wrote is what is sent",
        "engine/job/strict_json.py",
        "    if len(members) != len(pairs):\n",
        "    if len(members) > len(pairs):\n",
        "tests/job/test_strict_json.py",
    ),
    Variant(
        "requests go out in bursts",
        "no minute holds more submissions than the limit",
        "engine/scheduling/lane.py",
        "        self._limiter = AsyncLimiter(1, spacing_s(pace.per_minute))\n",
        "        self._limiter = AsyncLimiter(pace.per_minute, 60)\n",
        "tests/scheduling/test_lane.py::test_no_window_of_a_minute_holds_more_than_the_limit_and_nearly_all_of_it_is_used",
    ),
    Variant(
        "every 429 of a burst halves the pace",
        "the plan is used",
        "engine/scheduling/pace.py",
        "if not self._adaptive or permit.epoch != self._epoch:\n            return\n        self._forget_old()",
        "if not self._adaptive:\n            return\n        self._forget_old()",
        "tests/scheduling/test_pace.py",
    ),
    Variant(
        "Retry-After is obeyed however long it is",
        "never a stall without a stated reason",
        "engine/provider/throttle.py",
        "return min(max(*usable, WAIT_S_MIN), WAIT_S_MAX) if usable else None",
        "return max(*usable, WAIT_S_MIN) if usable else None",
        "tests/provider/test_throttle.py::test_a_wait_is_clamped",
    ),
    Variant(
        "any digit is a digit",
        "a header means what it says or nothing",
        "engine/provider/throttle.py",
        r'_SECONDS = re.compile(r"[0-9]{1,13}(\.[0-9]{1,9})?\Z", re.ASCII)',
        r'_SECONDS = re.compile(r"\d{1,13}(\.\d{1,9})?\Z")',
        "tests/provider/test_throttle.py::test_what_cannot_be_read_is_no_hint",
    ),
    Variant(
        "a request id of another job is taken",
        "a request id belongs to one job",
        "engine/ledger/ledger.py",
        "            if owner is not None and owner[0] != job:\n",
        "            if owner is not None and owner[0] == -1:\n",
        "tests/ledger/test_ledger.py::test_a_request_id_that_another_job_owns_is_refused_and_changes_nothing",
    ),
    Variant(
        "an unknown status word is a failure",
        "only the provider's own word fails a job",
        "engine/provider/verdicts.py",
        "                return Working(word)\n",
        "                known = word in {'QUEUED', 'PROCESSING'}\n"
        "                return Working(word) if known else Failed(word, 200, metrics_of(body))\n",
        "tests/provider/test_verdicts.py::test_an_unknown_word_means_still_working",
    ),
    Variant(
        "a result is believed whatever it says of itself",
        "a paid result is not lost",
        "engine/provider/verdicts.py",
        "if word == _DONE_WORD or (urls and not isinstance(word, str)):",
        "if word == _DONE_WORD or urls:",
        "tests/provider/test_verdicts.py::test_a_result_that_says_it_is_not_done_is_not_even_if_it_names_files",
    ),
    Variant(
        "a price is reserved only once it is charged",
        "bounded spending",
        "engine/scheduling/feeder.py",
        "        self._spend.reserve(flight.job, flight.price_usd)\n",
        "",
        "tests/runs/test_money.py::test_the_bill_never_exceeds_the_budget_and_raising_it_finishes_the_batch",
    ),
    Variant(
        "416 means that the file is complete",
        "a named file is complete",
        "engine/media/reply.py",
        '        return Refused("unreachable", "the host refuses the range (416)", forget=True)\n',
        "        return Append(kept.bytes)\n",
        "tests/media/test_downloader.py::test_416_is_never_complete_by_itself",
    ),
    Variant(
        "any range is appended",
        "a named file is complete",
        "engine/media/reply.py",
        "    if part is None or part.start != kept.bytes:\n",
        "    if part is None:\n",
        "tests/media/test_reply.py::test_a_wrong_part_makes_what_is_kept_worthless",
    ),
    Variant(
        "a weak validator will do",
        "a named file is complete",
        "engine/media/reply.py",
        "        return etag if _STRONG_ETAG.fullmatch(etag) else None\n",
        "        return etag\n",
        "tests/media/test_reply.py::test_only_a_strong_validator_is_used",
    ),
    Variant(
        "what has the name is overwritten",
        "nothing is ever overwritten",
        "engine/ledger/durable.py",
        "    if os.path.lexists(target):\n",
        "    if os.path.isdir(target):\n",
        "tests/ledger/test_durable.py::test_publishing_never_overwrites",
    ),
    Variant(
        "a private address is as good as any",
        "public addresses only",
        "engine/media/addresses.py",
        "return not any(parsed in network for network in _REFUSED_IPV4)",
        "return True",
        "tests/media/test_addresses.py::test_private_loopback_link_local_mapped_nat64_address_refused",
    ),
    Variant(
        "the address of a name is not judged at the socket",
        "public addresses only",
        "engine/media/connections.py",
        "        socket_factory=None if allow_private_hosts else guarded_socket,\n",
        "",
        "tests/media/test_guard.py::test_the_guard_at_the_socket_holds_by_itself",
    ),
    Variant(
        "the key is not taken out of the log",
        "the key is never written",
        "engine/run_log.py",
        "            line = line.replace(secret, REDACTED.encode())\n",
        "            pass\n",
        "tests/test_run_log.py::test_the_key_is_never_written_wherever_it_turns_up",
    ),
    Variant(
        "the log renders frame locals",
        "the key is never written",
        "engine/run_log.py",
        "processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, self._emit],",
        "processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, "
        "structlog.processors.dict_tracebacks, self._emit],",
        "tests/test_run_log.py::test_a_traceback_and_its_locals_are_not_rendered",
    ),
    Variant(
        "an error's repr is its reason",
        "the key is never written",
        "engine/provider/http.py",
        'return f"{type(error).__name__}: {detail}" if detail else type(error).__name__',
        "return repr(getattr(error, 'args', error))",
        "tests/provider/test_http.py::test_no_reason_holds_the_key",
    ),
    Variant(
        "two processes may work on one run",
        "one run directory, one process",
        "engine/ledger/run_dir.py",
        "            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            return None\n",
        "tests/ledger/test_run_dir.py::test_a_second_lock_in_this_process_is_refused_too",
    ),
    Variant(
        "an intent without an answer is submitted again",
        "one paid submission per job",
        "engine/ledger/ledger.py",
        "                move(db, job, State.UNKNOWN, attempts=attempt, error=None)\n",
        "                move(db, job, State.PENDING, attempts=attempt, error=None)\n",
        "tests/simulation/test_state_machine.py",
    ),
    Variant(
        "a line is recorded before it is in the file",
        "one output line per input line, never torn",
        "engine/ledger/result_writer.py",
        "        await asyncio.to_thread(append, self._fd, content)\n        await self._print(content)\n",
        "        await self._print(content)\n",
        "tests/simulation/test_night.py",
    ),
    Variant(
        "an age is taken from the clock on the wall",
        "a clock that jumps fails no job",
        "engine/scheduling/life.py",
        "return self._clock.now() - flight.submitted_at",
        "return self._clock.utc() - flight.submitted_utc",
        "tests/scheduling/test_scheduler.py::test_a_clock_that_is_set_two_days_off_fails_no_job_and_loses_none",
    ),
)
