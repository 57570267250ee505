"""Variants that lose or tear what is on disk."""

from __future__ import annotations

from tests.sabotage.variant import Variant

DURABILITY = (
    Variant(
        "a result is acted on before it is recorded",
        "a paid result is not lost",
        "engine/scheduling/recording.py",
        "        await self._ledger.ready(flight, metrics=result.metrics, output=output, media=media, lag_s=lag_s)\n",
        "        import asyncio\n"
        "        change = self._ledger.ready(flight, metrics=result.metrics, output=output, media=media, lag_s=lag_s)\n"
        "        self._recording = asyncio.ensure_future(change)\n",
        "tests/scheduling/test_write_ahead.py::test_every_act_finds_what_led_to_it_on_disk",
    ),
    Variant(
        "an answer is acted upon before it is on disk",
        "a paid result is not lost",
        "engine/scheduling/submission.py",
        "            await commit()\n        except RefusedChange:\n",
        "            import asyncio\n"
        "            self._answering = asyncio.ensure_future(commit())\n"
        "        except RefusedChange:\n",
        "tests/scheduling/test_submission.py::test_a_file_that_came_as_the_reply_is_in_the_ledger_alone_until_it_is_stored",
    ),
    Variant(
        "files are not synced",
        "a recorded file survives a power cut",
        "engine/disk/durable.py",
        "        os.fsync(fd)  # noqa: TID251 (this is the file that durability lives in)\n",
        "        pass\n",
        "tests/disk/test_durable.py::test_a_replacement_is_synced_named_and_synced_again",
    ),
    Variant(
        "a directory is not synced after a rename",
        "a recorded file survives a power cut",
        "engine/disk/durable.py",
        "    os.rename(part, target)  # noqa: PTH104, TID251 (this is the file that durability lives in)\n"
        "    sync_directory(target.parent)\n",
        "    os.rename(part, target)  # noqa: PTH104, TID251 (this is the file that durability lives in)\n",
        "tests/disk/test_durable.py::test_a_published_file_has_its_name_before_the_directory_is_synced",
    ),
    Variant(
        "a failed sync is tried again",
        "a failed sync is final",
        "engine/disk/durable.py",
        "    except OSError as error:\n        raise StorageError(\n"
        '            f"the disk refused to make written data durable ({error.strerror})",',
        "    except OSError as error:\n        os.fsync(fd)\n        return\n        raise StorageError(\n"
        '            f"the disk refused to make written data durable ({error.strerror})",',
        "tests/disk/test_durable.py::test_a_failed_sync_is_final_and_not_tried_again",
    ),
    Variant(
        "the output is not cut back to what was recorded",
        "one output line per input line, never torn",
        "engine/output/result_writer.py",
        "        if size_bytes > mark.bytes:\n            cut(fd, mark.bytes)\n",
        "",
        "tests/output/test_result_writer.py::test_what_lies_behind_the_mark_is_cut_off_and_written_again",
    ),
    Variant(
        "an edited output is taken as it is",
        "the database is the truth, the output a projection",
        "engine/output/result_writer.py",
        "if mark.bytes and _digest(",
        "if not mark.bytes and _digest(",
        "tests/output/test_result_writer.py::test_a_changed_output_is_refused_untouched_and_can_be_rebuilt",
    ),
    Variant(
        "two processes may work on one run",
        "one run directory, one process",
        "engine/disk/run_dir.py",
        "            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            return None\n",
        "tests/disk/test_run_dir.py::test_a_second_lock_in_this_process_is_refused_too",
    ),
    Variant(
        "a line is recorded before it is in the file",
        "one output line per input line, never torn",
        "engine/output/result_writer.py",
        '        await asyncio.to_thread(append, self._fd, content, name="the output", hint=NO_ROOM_HINT)\n'
        "        await self._print(content)\n",
        "        await self._print(content)\n",
        "tests/simulation/test_night.py"
        "::test_whatever_the_disk_loses_and_the_provider_does_nothing_is_lost_and_nothing_paid_twice",
    ),
)
