"""Variants that misread the input and the replies, or let the key out."""

from __future__ import annotations

from tests.sabotage.variant import Variant

WORDS = (
    Variant(
        "lines are split wherever Unicode breaks one",
        "what you wrote is what is sent",
        "engine/job/line_splitter.py",
        'first, *rest = block.split(b"\\n")',
        'first, *rest = [part.encode() for part in block.decode(errors="replace").splitlines()] or [b""]',
        "tests/intake/test_job_reader.py::test_lines_that_break_only_at_other_separators_are_one_line",
    ),
    Variant(
        "the last of two equal keys wins",
        "what you wrote is what is sent",
        "engine/job/strict_json.py",
        "    if len(members) != len(pairs):\n",
        "    if len(members) > len(pairs):\n",
        "tests/job/test_strict_json.py::test_what_has_no_one_meaning_is_refused_with_the_reason",
    ),
    Variant(
        "an unknown status word is a failure",
        "only the provider's own word fails a job",
        "engine/provider/interpretation.py",
        "            return Working(word)\n",
        "            known = word in {'QUEUED', 'PROCESSING'}\n"
        "            return Working(word) if known else _failed(reply, body, provider)\n",
        "tests/provider/test_interpretation.py::test_an_unknown_word_means_still_working",
    ),
    Variant(
        "a result is believed whatever it says of itself",
        "a paid result is not lost",
        "engine/provider/interpretation.py",
        "if told or (not isinstance(word, str) and media_urls(body, rules.outputs)):",
        "if told or media_urls(body, rules.outputs):",
        "tests/provider/test_interpretation.py::test_a_result_that_says_it_is_not_done_is_not_even_if_it_names_files",
    ),
    Variant(
        "the key goes wherever a reply says",
        "the key goes to the provider alone",
        "engine/provider/addresses.py",
        "    if named and is_trusted(named, base_url, provider):\n",
        "    if named:\n",
        "tests/provider/test_addresses.py::test_an_address_of_somebody_else_is_not_used",
    ),
    Variant(
        "the key is not taken out of the log",
        "the key is never written",
        "engine/run/log.py",
        "            line = line.replace(secret, REDACTED.encode())\n",
        "            pass\n",
        "tests/run/test_log.py::test_the_key_is_never_written_wherever_it_turns_up",
    ),
    Variant(
        "the log renders frame locals",
        "the key is never written",
        "engine/run/log.py",
        "processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, self._emit],",
        "processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, "
        "structlog.processors.dict_tracebacks, self._emit],",
        "tests/run/test_log.py::test_a_traceback_and_its_locals_are_not_rendered",
    ),
    Variant(
        "an error's repr is its reason",
        "the key is never written",
        "engine/provider/exchange.py",
        'return f"{type(error).__name__}: {detail}" if detail else type(error).__name__',
        "return repr(getattr(error, 'args', error))",
        "tests/provider/test_http.py::test_no_reason_holds_the_key",
    ),
    Variant(
        "an age is taken from the clock on the wall",
        "a clock that jumps fails no job",
        "engine/scheduling/step_maker.py",
        "return self._clock.now() - flight.submitted_at",
        "return self._clock.utc() - flight.submitted_utc",
        "tests/scheduling/test_taking_up.py::test_a_clock_that_is_set_two_days_off_fails_no_job_and_loses_none",
    ),
)
