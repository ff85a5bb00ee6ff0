from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from polis import fingerprint

PARTS = st.dictionaries(st.from_regex(r"[a-z-]{1,8}", fullmatch=True), st.text(max_size=20), max_size=6)


@given(PARTS, PARTS)
def test_two_fingerprints_name_exactly_the_parts_that_differ(before: dict[str, str], now: dict[str, str]) -> None:
    differing = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    assert list(fingerprint.changed(fingerprint.of(before), fingerprint.of(now))) == differing


def test_a_part_s_value_cannot_be_read_from_it() -> None:
    assert "hunter2" not in fingerprint.of({"password": "hunter2"})
