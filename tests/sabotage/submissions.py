"""Variants that pay twice, or lose what was paid for."""

from __future__ import annotations

from tests.sabotage.variant import Variant

INTENT = (
    "        await self._ledger.intend(\n"
    "            flight.job, attempt, utc=flight.intent_utc, price_usd=flight.price_usd, sent=flight.sent or None\n"
    "        )\n"
)

SUBMISSIONS = (
    Variant(
        "no intent before the POST",
        "one paid submission per job",
        "engine/scheduling/submission.py",
        f"{INTENT}        verdict = await self._provider.submit(flight.model, decode_json(staged.params))\n",
        f"        verdict = await self._provider.submit(flight.model, decode_json(staged.params))\n{INTENT}",
        "tests/scheduling/test_submission.py::test_the_intent_is_durable_before_the_post",
    ),
    Variant(
        "the POST does not wait for its intent",
        "one paid submission per job",
        "engine/scheduling/submission.py",
        INTENT,
        "        import asyncio\n"
        f"{INTENT.replace('await', 'change =')}"
        "        self._intending = asyncio.ensure_future(change)\n",
        "tests/scheduling/test_write_ahead.py::test_every_act_finds_what_led_to_it_on_disk",
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
        "engine/provider/interpretation.py",
        "return UnknownOutcome(reply.reason) if reply.sent else NotSent(reply.reason)",
        "return NotSent(reply.reason)",
        "tests/provider/test_interpretation.py::test_a_lost_reply_is_unknown_and_an_unsent_request_is_not",
    ),
    Variant(
        "a 502 is a reason to submit again",
        "one paid submission per job",
        "engine/provider/interpretation.py",
        "        case _ if status in provider.submit.safe_codes and reply.object():\n",
        "        case 500 | 502 | 503 | 504:\n",
        "tests/provider/test_interpretation.py::test_an_edge_that_fails_leaves_the_outcome_unknown",
    ),
    Variant(
        "redirects of a POST are followed",
        "one paid submission per job; the key goes to the API alone",
        "engine/provider/exchange.py",
        "allow_redirects=False,",
        "allow_redirects=True,",
        "tests/provider/test_http.py::test_a_redirect_is_not_followed_and_the_key_goes_nowhere_else",
    ),
    Variant(
        "a malformed reply is believed to be a 400 of the server",
        "only the server's own word fails a job",
        "engine/provider/exchange.py",
        "        except _NETWORK_ERRORS as error:\n",
        "        except aiohttp.ClientResponseError as error:\n"
        '            return Reply(error.status, {}, b"")\n'
        "        except _NETWORK_ERRORS as error:\n",
        "tests/provider/test_http.py::test_a_malformed_reply_decides_nothing",
    ),
    Variant(
        "submissions go over pooled connections",
        "one paid submission per job",
        "engine/provider/exchange.py",
        "self._submits = self._session(self._submits_max, force_close=True)",
        "self._submits = self._session(self._submits_max, force_close=False)",
        "tests/provider/test_http.py::test_each_submission_has_a_connection_of_its_own_and_readings_share_theirs",
    ),
    Variant(
        "a request id of another job is taken",
        "a request id belongs to one job",
        "engine/ledger/outcomes.py",
        "    if owner is not None and owner[0] != job:\n",
        "    if owner is not None and owner[0] == -1:\n",
        "tests/ledger/test_ledger.py::test_a_request_id_that_another_job_owns_is_refused_and_changes_nothing",
    ),
    Variant(
        "an intent without an answer is submitted again",
        "one paid submission per job",
        "engine/ledger/recovery.py",
        "        move(db, job, State.UNKNOWN, attempts=attempt, error=None)\n",
        "        move(db, job, State.PENDING, attempts=attempt, error=None)\n",
        "tests/ledger/test_recovery.py::test_an_intent_without_an_answer_becomes_unknown",
    ),
)
