"""The documentation promises what is tried on a real VM, all of it and nothing else."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.ways import WAYS

DOCUMENT = Path(__file__).parents[2] / "docs" / "security.md"
HEAD = "| way around, closed to the workspace | open to |"


def test_the_table_of_ways_around_is_the_one_that_is_tried() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = lines[lines.index(HEAD) + 2 :]
    rows = rows[: rows.index("")]
    assert rows == [f"| {way.title} | {way.open_to} |" for way in WAYS]


def test_no_way_is_named_twice() -> None:
    assert len({way.name for way in WAYS}) == len({way.title for way in WAYS}) == len(WAYS)
