"""Waiting for an instance, with a clock of its own: what takes minutes in the site takes none here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from polis.drivers.base import Instance, InstanceState
from polis.drivers.incus import arrival, records, table
from polis.drivers.incus.arrival import Actions, Arrival
from polis.drivers.incus.failures import Failure, ToolFailure
from polis.drivers.incus.patience import Patience
from polis.drivers.incus.records import Seen
from polis.drivers.incus.tool import LXD
from polis.drivers.toolcalls import patiently
from polis.errors import (
    ConfigurationError,
    DriverUnavailable,
    ForeignInstance,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    LaunchFailed,
)
from polis.retry import Backoff

ROWS = {row.name: row for row in (*table.ROWS, table.NO_ANSWER, table.UNRECOGNIZED)}


def failure(name: str, verb: str = "init") -> ToolFailure:
    return ToolFailure(Failure(ROWS[name], verb, 1, f"Error: {name}"))


@dataclass
class Field:
    """A server with at most one instance, and a virtual time. What is in `failures` is raised, one for each deed."""

    state: InstanceState | None = None
    fresh: bool = True
    under_way: bool = False
    now: float = 0.0
    answers_at: float = 0.0
    owner: str = "ours"
    deeds: list[str] = field(default_factory=list)
    failures: dict[str, list[ToolFailure]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    detail: str = ""
    starting: list[float] = field(default_factory=list)
    at: Callable[[float], None] = lambda _now: None

    def look(self) -> Seen | None:
        self.at(self.now)
        self._fail("look")
        if self.state is None:
            return None
        instance = Instance("incus", "polis", self.state, owner=self.owner, detail=self.detail)
        return Seen(instance, fresh=self.fresh, kind="container", location="n3", user="ubuntu")

    def create(self, _limit: float) -> None:
        self._do("create")
        self.state, self.fresh = InstanceState.STOPPED, True

    def start(self, limit: float) -> None:
        self.starting.append(limit)
        self._do("start")
        self.state, self.fresh = InstanceState.RUNNING, False

    def remove(self) -> None:
        self._do("remove")
        self.state = None

    def answer(self) -> None:
        if self.now < self.answers_at:
            raise GuestUnreachable("the guest is not ready", cause="no user yet")

    def check(self, seen: Seen, _surprised: bool) -> None:
        if seen.instance.owner != "ours":
            raise ForeignInstance("somebody else's")

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def arrive(self, timeout: float = 600, *, create: bool = True) -> None:
        actions = Actions(
            look=self.look,
            creating=lambda: self.under_way,
            check=self.check,
            prepare=lambda _: None,
            start=self.start,
            answer=self.answer,
            remove=self.remove,
            create=self.create if create else None,
        )
        Arrival(
            "polis",
            LXD,
            actions,
            Patience(),
            self.told.append,
            clock=lambda: self.now,
            sleep=self.sleep,
            backoff=Backoff(base=0.001),
        ).wait(timeout)

    def _do(self, deed: str) -> None:
        self.deeds.append(deed)
        self._fail(deed)

    def _fail(self, deed: str) -> None:
        if self.failures.get(deed):
            raise self.failures[deed].pop(0)


def test_from_nothing_to_an_answer() -> None:
    site = Field(answers_at=20)
    site.arrive()
    assert site.deeds == ["create", "start"]
    assert site.told == ["LXD creates the instance", "switching it on", "waiting for the guest to answer"]


def test_one_that_runs_is_left_alone() -> None:
    site = Field(InstanceState.RUNNING)
    site.arrive()
    assert site.deeds == []


def test_one_that_is_frozen_is_woken() -> None:
    site = Field(InstanceState.SUSPENDED)
    site.arrive()
    assert (site.deeds, site.told[0]) == (["start"], "waking it up")


def test_a_creation_that_another_began_is_joined() -> None:
    """Its record is not there yet while the image is fetched; then it is there, but busy."""

    def at(now: float) -> None:
        site.under_way = now < 50
        if now > 30 and site.state is None:
            site.state = InstanceState.STOPPED

    site = Field(at=at, failures={"start": [failure("busy", "start") for _ in range(20)]})
    site.arrive()
    assert "create" not in site.deeds
    assert site.deeds.count("start") == 21
    assert site.told[0] == "waiting: an earlier launch is creating it"


def test_a_name_that_is_taken_behind_our_back_is_looked_at() -> None:
    site = Field(failures={"create": [failure("exists")]})

    def at(_now: float) -> None:
        if site.deeds:
            site.state, site.owner = InstanceState.STOPPED, "theirs"

    site.at = at
    with pytest.raises(ForeignInstance):
        site.arrive()
    assert site.deeds == ["create"]


def test_one_whose_creation_was_cut_off_is_made_anew_once() -> None:
    broken = failure("incomplete", "start")
    site = Field(InstanceState.STOPPED, failures={"start": [broken]})
    site.arrive()
    assert site.deeds == ["start", "remove", "create", "start"]
    site = Field(InstanceState.STOPPED, failures={"start": [broken, broken]})
    with pytest.raises(LaunchFailed, match="cannot be switched on"):
        site.arrive()


def test_one_that_was_on_before_is_never_removed() -> None:
    site = Field(InstanceState.STOPPED, fresh=False, failures={"start": [failure("incomplete", "start")]})
    with pytest.raises(LaunchFailed):
        site.arrive()
    assert site.deeds == ["start"]


def test_one_that_was_just_made_whole_is_not_made_anew() -> None:
    site = Field(failures={"start": [failure("unrecognized", "start")]})
    with pytest.raises(LaunchFailed):
        site.arrive()
    assert site.deeds == ["create", "start"]


def test_what_start_finds_missing_is_never_removed() -> None:
    site = Field(InstanceState.STOPPED, failures={"start": [failure("incomplete", "start")]})
    with pytest.raises(LaunchFailed):
        site.arrive(create=False)
    assert site.deeds == ["start"]
    with pytest.raises(InstanceMissing):
        Field().arrive(create=False)


@pytest.mark.parametrize("name", ["no-image", "no-project", "unknown-remote"])
def test_what_the_user_must_mend_is_told_at_once(name: str) -> None:
    site = Field(failures={"create": [failure(name)]})
    with pytest.raises(ConfigurationError, match="polis cannot be created"):
        site.arrive()
    assert site.deeds == ["create"]


@pytest.mark.parametrize("name", ["storage-full", "full", "no-root-disk"])
def test_what_the_machine_lacks_is_told_at_once(name: str) -> None:
    with pytest.raises(HostUnsuitable):
        Field(failures={"create": [failure(name)]}).arrive()


def test_an_image_that_did_not_come_is_fetched_again_but_not_for_ever() -> None:
    site = Field(failures={"create": [failure("download-failed"), failure("download-failed")]})
    site.arrive()
    assert site.deeds == ["create", "create", "create", "start"]
    site = Field(failures={"create": [failure("download-failed") for _ in range(99)]})
    with pytest.raises(DriverUnavailable):
        site.arrive()
    assert len(site.deeds) == arrival.ATTEMPTS


def test_a_server_that_restarts_is_waited_for() -> None:
    site = Field(failures={"look": [failure("daemon-down", "query") for _ in range(30)]})
    site.arrive()
    assert site.deeds == ["create", "start"]


def test_a_server_that_stays_away_is_told() -> None:
    site = Field(failures={"look": [failure("daemon-down", "query") for _ in range(999)]})
    with pytest.raises(DriverUnavailable, match="LXD does not answer"):
        site.arrive()
    assert site.now == pytest.approx(Patience().daemon, abs=2)


def test_no_rights_are_told_at_once() -> None:
    site = Field(failures={"look": [failure("no-rights", "query")]})
    with pytest.raises(HostUnsuitable):
        site.arrive()
    assert site.now == 0


def test_one_that_keeps_going_off_is_given_up() -> None:
    site = Field(InstanceState.STOPPED, fresh=False)

    def at(_now: float) -> None:
        site.state = InstanceState.STOPPED

    site.at = at
    with pytest.raises(LaunchFailed, match="went off while it was coming up"):
        site.arrive()
    assert len(site.deeds) == arrival.STARTS


def test_a_guest_that_never_answers_is_left_on_and_told() -> None:
    site = Field(InstanceState.RUNNING, answers_at=1e9)
    with pytest.raises(LaunchFailed, match="did not come up within 60 s") as caught:
        site.arrive(60)
    assert caught.value.cause == "no user yet"
    assert "lxc info polis" in caught.value.hint
    assert site.deeds == []


def test_patience_ends() -> None:
    clock = [0.0]

    def away() -> None:
        raise failure("daemon-down", "query")

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    with pytest.raises(ToolFailure):
        patiently(away, {"daemon-down"}, 5.0, pause=1.0, clock=lambda: clock[0], sleep=sleep)
    assert clock[0] == pytest.approx(5, abs=1)


def test_a_member_that_dies_while_it_starts_an_instance_is_told_soon_and_not_after_all_the_time_there_is() -> None:
    site = Field(InstanceState.STOPPED, failures={"start": [failure("no-answer", "start")]})

    def die(_now: float) -> None:
        if site.deeds:
            site.state, site.detail = InstanceState.UNKNOWN, records.AWAY

    site.at = die
    with pytest.raises(DriverUnavailable, match="the cluster member that polis is on does not answer") as caught:
        site.arrive(timeout=3600)
    assert site.starting == [Patience().starting]
    assert Patience().daemon < site.now < Patience().daemon + 5
    assert "(n3)" in caught.value.cause
    assert caught.value.remains == "the instance is kept"
    assert "lxc cluster list" in caught.value.hint


def test_a_member_that_restarts_is_waited_for() -> None:
    site = Field(InstanceState.UNKNOWN, detail=records.AWAY)

    def come_back(now: float) -> None:
        if now >= Patience().daemon - 1:
            site.state, site.detail = InstanceState.STOPPED if not site.deeds else InstanceState.RUNNING, ""

    site.at = come_back
    site.arrive()
    assert site.deeds == ["start"]
