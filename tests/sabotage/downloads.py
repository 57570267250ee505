"""Variants that name a file which is not whole, or fetch it from where nothing may be fetched."""

from __future__ import annotations

from tests.sabotage.variant import Variant

DOWNLOADS = (
    Variant(
        "416 means that the file is complete",
        "a named file is complete",
        "engine/media/answer_head.py",
        '        return Refused("unreachable", "the host refuses the range (416)", forget=True)\n',
        "        return Append(kept.bytes)\n",
        "tests/media/test_downloader.py::test_416_is_never_complete_by_itself",
    ),
    Variant(
        "any range is appended",
        "a named file is complete",
        "engine/media/answer_head.py",
        "    if part is None or part.start != kept.bytes:\n",
        "    if part is None:\n",
        "tests/media/test_answer_head.py::test_a_wrong_part_makes_what_is_kept_worthless",
    ),
    Variant(
        "a weak validator will do",
        "a named file is complete",
        "engine/media/answer_head.py",
        "        return etag if _STRONG_ETAG.fullmatch(etag) else None\n",
        "        return etag\n",
        "tests/media/test_answer_head.py::test_only_a_strong_validator_is_used",
    ),
    Variant(
        "a redirect takes the key along",
        "the key goes to the API alone",
        "engine/media/transfer.py",
        "                opener = opener if _is_same_origin(url, target) else None\n",
        "",
        "tests/media/test_keyed.py::test_a_redirect_to_another_origin_takes_the_key_off_for_good",
    ),
    Variant(
        "what has the name is overwritten",
        "nothing is ever overwritten",
        "engine/disk/durable.py",
        "    if os.path.lexists(target):\n",
        "    if os.path.isdir(target):\n",
        "tests/disk/test_durable.py::test_publishing_never_overwrites",
    ),
    Variant(
        "a private address is as good as any",
        "public addresses only",
        "engine/media/public_hosts.py",
        "return not any(parsed in network for network in _REFUSED_IPV4)",
        "return True",
        "tests/media/test_public_hosts.py::test_private_loopback_link_local_mapped_nat64_address_refused",
    ),
    Variant(
        "the address of a name is not judged at the socket",
        "public addresses only",
        "engine/media/connections.py",
        "        socket_factory=None if allow_private_hosts else guarded_socket,\n",
        "",
        "tests/media/test_guard.py::test_the_guard_at_the_socket_holds_by_itself",
    ),
)
