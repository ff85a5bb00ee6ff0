"""The suite of the shared record, on a server in memory; tests/contract/test_shared_record.py runs it on a real one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from polis.drivers.incus import table
from polis.drivers.incus.failures import Failure, ToolFailure
from polis.errors import DriverUnavailable
from polis.lease import Pace
from polis.phase import Phase
from tests.profiles import ProfileServer, entries
from tests.shared_record import Operator, Operators, SharedRecordSuite, record


@pytest.fixture
def operators(tmp_path: Path) -> Operators:
    server = ProfileServer()

    def operator(name: str, pace: Pace | None = None) -> Operator:
        return Operator(tmp_path / name, server, pace or Pace())

    return operator


class TestSharedRecord(SharedRecordSuite):
    """All of it."""


class Away:
    def request(self, verb: str, *_: Any, **__: Any) -> Any:
        raise ToolFailure(Failure(table.named("daemon-down"), verb, 1, "unix.socket: Connection refused"))


def test_a_server_that_is_away_is_told_with_what_this_machine_remembers(operators: Operators) -> None:
    operators("ann").save(record(Phase.HEALTHY))
    for name, remembered in (("ann", "remembers shared as healthy"), ("bob", "")):
        with pytest.raises(DriverUnavailable) as caught:
            Operator(operators(name).directory, Away()).store.load()
        assert remembered in caught.value.remains
        assert "Connection refused" in caught.value.cause


def test_projects_are_apart_where_the_server_keeps_their_profiles_together(operators: Operators) -> None:
    ann = operators("ann")
    ann.save(record())
    assert entries(ann.transport, "other").read("shared") is None
    assert entries(ann.transport, "other").all() == {}
    assert set(entries(ann.transport, "").all()) == {"shared"}
