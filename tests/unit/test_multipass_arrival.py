"""Waiting for an instance, with a clock of its own: what takes minutes in the field takes none here."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from polis.drivers.base import Instance
from polis.drivers.multipass import arrival, table
from polis.drivers.multipass.arrival import Actions, Arrival
from polis.drivers.multipass.client import Client
from polis.drivers.multipass.failures import Failure, ToolFailure
from polis.drivers.multipass.host import Host
from polis.drivers.multipass.patience import Patience
from polis.drivers.multipass.records import Listed, Versions, listed, versions
from polis.drivers.toolcalls import Unreadable, patiently
from polis.errors import DriverUnavailable, InstanceMissing, LaunchFailed
from polis.process import Completed
from polis.retry import Backoff

ROWS = {row.name: row for row in (*table.ROWS, table.NO_ANSWER)}


def failure(name: str, verb: str = "launch") -> ToolFailure:
    return ToolFailure(Failure(ROWS[name], verb, 2, f"{verb} failed: {name}"))


class Errand:
    """A client beside us that ends as soon as it was begun, or lasts until `ends`."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.running = False
        self._failure: Failure | None = None
        try:
            call()
        except ToolFailure as failed:
            self._failure = failed.failure

    def failure(self) -> Failure | None:
        return self._failure


class Longest(Backoff):
    """Without jitter."""

    def delay(self, attempt: int, draw: Callable[[], float] = lambda: 1.0) -> float:
        return super().delay(attempt, draw)


class Field:
    """An instance whose state follows from a virtual time; `deeds` is what was done to it, and when."""

    def __init__(self, state: Callable[[float], str | None]) -> None:
        self.now = 0.0
        self.state = state
        self.deeds: list[tuple[str, float]] = []
        self.launching: Callable[[], None] = lambda: None

    def look(self) -> Instance | None:
        state = self.state(self.now)
        return None if state is None else Listed("polis", state).instance("multipass")

    def do(self, deed: str) -> Callable[[], None]:
        return lambda: self.deeds.append((deed, self.now))

    def launch(self, attempt: int) -> None:
        self.deeds.append((f"launch {attempt}", self.now))
        self.launching()

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def arrive(self, timeout: float, *, launch: bool = False) -> Arrival:
        actions = Actions(
            look=self.look,
            answer=lambda: Completed((), 0, "", "", 0.0),
            start=self.do("start"),
            switch_off=self.do("off"),
            cancel_shutdown=self.do("cancel"),
            launch=self.launch if launch else None,
        )
        waiting = Arrival(
            "polis",
            Client(Host("linux")),
            actions,
            Patience(),
            lambda _: None,
            clock=lambda: self.now,
            sleep=self.sleep,
            backoff=Longest(base=2.0, cap=30.0),
        )
        waiting.wait(timeout)
        return waiting


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "Errand", Errand)


def test_a_boot_that_shows_unknown_for_long_is_left_alone() -> None:
    field = Field(lambda now: "Running" if now > 100 else ("Unknown" if now % 3 else "Starting"))
    field.arrive(600)
    assert field.deeds == []


def test_an_instance_that_stays_unknown_is_switched_off_and_on() -> None:
    field = Field(lambda _: "Unknown")
    field.state = lambda now: "Unknown" if not field.deeds else "Stopped" if field.deeds[-1][0] == "off" else "Running"
    field.arrive(600)
    assert [deed for deed, _ in field.deeds] == ["off", "start"]
    assert field.deeds[0][1] == pytest.approx(Patience().lost, abs=3)


def test_it_is_not_switched_off_for_ever() -> None:
    field = Field(lambda _: "Unknown")
    field.state = lambda now: "Stopped" if field.deeds and field.deeds[-1][0] == "off" else "Unknown"
    with pytest.raises(LaunchFailed):
        field.arrive(3600)
    assert [deed for deed, _ in field.deeds].count("start") == arrival.STARTS


def test_an_instance_that_keeps_going_off_is_given_up() -> None:
    field = Field(lambda _: "Stopped")
    with pytest.raises(LaunchFailed, match="went off while it was coming up"):
        field.arrive(3600)
    assert len(field.deeds) == arrival.STARTS


def test_suspending_is_waited_for() -> None:
    field = Field(lambda now: "Suspending" if now < 5 else "Suspended")
    field.state = lambda now: "Running" if field.deeds else "Suspending" if now < 5 else "Suspended"
    field.arrive(60)
    assert field.deeds == [("start", 5.0)]


def test_a_daemon_that_dies_under_each_launch_is_given_time() -> None:
    """Right after its start without internet it dies of every launch for some seconds (observed): not every second."""
    field = Field(lambda _: None)
    field.launching = lambda: (_ for _ in ()).throw(failure("daemon-down"))
    with pytest.raises(DriverUnavailable, match="cannot be created"):
        field.arrive(3600, launch=True)
    times = [when for _, when in field.deeds]
    assert len(times) == arrival.ATTEMPTS
    assert [round(after - before) for before, after in itertools.pairwise(times)] == [3, 5, 9, 17]


def test_an_earlier_launch_may_prepare_for_long_without_costing_attempts() -> None:
    field = Field(lambda now: None if now < 300 else "Running")
    field.launching = lambda: (_ for _ in ()).throw(failure("being-prepared"))
    waiting = field.arrive(600, launch=True)
    assert waiting.surprised
    assert {deed for deed, _ in field.deeds} == {"launch 1"}
    assert len(field.deeds) > 100


@pytest.mark.parametrize("state", ["Stopped", "Unknown"])
def test_an_instance_that_turned_up_behind_our_back_is_neither_started_nor_switched_off(state: str) -> None:
    field = Field(lambda now: None if now < 5 else state)
    field.launching = lambda: (_ for _ in ()).throw(failure("already-exists"))
    with pytest.raises(LaunchFailed, match="did not come up"):
        field.arrive(3600, launch=True)
    assert {deed for deed, _ in field.deeds} == {"launch 1"}


def test_a_daemon_that_is_away_is_borne_for_its_time_only() -> None:
    field = Field(lambda _: None)

    def away(now: float) -> str | None:
        if now < 30:
            raise failure("daemon-down", "list")
        return "Running"

    field.state = away
    field.arrive(600)
    assert field.now == pytest.approx(30, abs=2)
    field = Field(lambda _: None)

    def gone(now: float) -> str | None:
        raise failure("daemon-down", "list")

    field.state = gone
    with pytest.raises(DriverUnavailable):
        field.arrive(600)
    assert field.now == pytest.approx(Patience().daemon, abs=3)


def test_a_deed_that_the_daemon_does_not_hear_is_done_again() -> None:
    field = Field(lambda _: "Delayed Shutdown")
    tried: list[float] = []

    def cancel() -> None:
        tried.append(field.now)
        if len(tried) < 3:
            raise failure("daemon-down", "stop")

    field.do = lambda deed: cancel if deed == "cancel" else (lambda: None)  # type: ignore[method-assign]
    field.arrive(60)
    assert len(tried) == 3


def test_without_a_launch_a_missing_instance_is_told() -> None:
    with pytest.raises(InstanceMissing):
        Field(lambda _: None).arrive(60)


# ---- asking again


def test_patience() -> None:
    now = [0.0]
    tries: list[float] = []

    def action() -> str:
        tries.append(now[0])
        if now[0] < 3:
            raise failure("daemon-down", "list")
        return "done"

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def ask(seconds: float) -> str:
        return patiently(action, {"daemon-down"}, seconds, pause=1.0, clock=lambda: now[0], sleep=sleep)

    assert ask(10) == "done"
    assert tries == [0, 1, 2, 3]
    now[0] = 0.0
    with pytest.raises(ToolFailure):
        ask(1.5)
    assert now[0] == 1.0


# ---- records


@pytest.mark.parametrize(
    ("word", "state", "detail"),
    [
        ("Running", "running", ""),
        ("Stopped", "stopped", ""),
        ("Deleted", "deleted", "deleted, but not purged"),
        ("Starting", "starting", ""),
        ("Restarting", "starting", "restarting"),
        ("Delayed Shutdown", "running", "a shutdown is scheduled"),
        ("Suspending", "suspended", "suspending"),
        ("Suspended", "suspended", ""),
        ("Unknown", "unknown", "booting, or lost: only time tells"),
        ("Unavailable", "unknown", "its zone is not available"),
        ("Flying", "unknown", "Multipass calls it Flying"),
    ],
)
def test_every_state(word: str, state: str, detail: str) -> None:
    found = Listed("polis", word).instance("multipass")
    assert (found.state, found.detail) == (state, detail)


def test_rows_of_a_newer_version_and_addresses_that_are_none() -> None:
    row = '{"name": "a", "state": "Running", "ipv4": ["N/A", "10.0.0.2", "fe80::1"], "zone": {"name": "z"}}'
    assert listed(f'{{"list": [{row}]}}') == (Listed("a", "Running", ("10.0.0.2",)),)


@pytest.mark.parametrize("text", ["", "No instances found.", "[]", '{"list": {}}', '{"list": [{"name": 1}]}', "{"])
def test_garbage_is_no_empty_list(text: str) -> None:
    with pytest.raises(Unreadable):
        listed(text)


def test_a_daemon_that_did_not_answer_has_no_version() -> None:
    assert versions('{"multipass": "1.16.3+mac"}') == Versions("1.16.3+mac", "")
