"""Everything that the real 1.16.3 was seen to print (facts/multipass-observed.md), read by the driver's readers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polis.drivers.multipass import failures, records, table
from polis.process import Completed

DATA = Path(__file__).parents[1] / "data" / "multipass"
ROWS = {row.name for row in (*table.ROWS, table.KILLED, table.UNRECOGNIZED)}


def transcripts() -> list[Path]:
    return sorted(DATA.glob("*.json"))


@pytest.mark.parametrize("path", transcripts(), ids=lambda path: path.stem)
def test_a_transcript(path: Path) -> None:
    case: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    expected: dict[str, Any] = case["expected"]
    done = Completed(("multipass", *case["argv"]), case["code"], case["stdout"], case["stderr"], 0.1)
    if "row" in expected:
        failure = failures.classify(case["argv"][0], done)
        assert (failure.row.name, failure.words) == (expected["row"], expected["words"])
        assert failure.row.name in ROWS
        return
    assert done.ok
    if "list" in expected:
        found = {each.name: each for each in records.listed(done.stdout)}
        assert {
            name: [each.state, each.instance("multipass").state, list(each.ipv4)] for name, each in found.items()
        } == expected["list"]
    if "versions" in expected:
        version = records.versions(done.stdout)
        assert [version.client, version.daemon] == expected["versions"]
    for name, state in expected.get("states", {}).items():
        assert records.details(done.stdout, name)["state"] == state
    if "says" in expected:
        assert failures.words(done.stdout) == expected["says"]
    assert "\x1b" not in failures.words(done.stdout)
    assert "\x08" not in failures.words(done.stdout)


def test_every_verb_and_every_state_is_among_them() -> None:
    cases = [json.loads(path.read_text(encoding="utf-8")) for path in transcripts()]
    verbs = {case["argv"][0] for case in cases}
    assert verbs >= {"version", "list", "info", "launch", "start", "stop", "delete", "exec", "transfer", "find"}
    assert verbs >= {"suspend", "restart", "recover", "purge", "snapshot", "restore", "get", "set"}
    states = {entry[0] for case in cases for entry in case["expected"].get("list", {}).values()}
    assert states >= {"Running", "Stopped", "Deleted", "Starting", "Delayed Shutdown"}
    assert len(cases) > 100
