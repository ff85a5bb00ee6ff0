"""Many workspaces at once: nobody's failure is another's, all are interrupted together, and each can be resumed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polis import assembly, events, log, paths, redaction
from polis.errors import DriverUnavailable, ExitCode, GuestUnreachable, PolisError
from polis.fleet import looking, rolling, run, schedule, spec
from polis.fleet.outcome import GRAVITY, Outcome, for_member, worst
from polis.fleet.run import Result, Setting
from polis.fleet.spec import Member
from polis.interruption import Interruption
from polis.journal import Journal
from polis.phase import Phase
from polis.store import Store
from polis.workspace import UpOptions, Workspace
from tests.simulated.many import Machines

PATIENCE = 60.0
FAST = {"retry": {"attempts": 2, "base": 0.001, "cap": 0.001}, "timeout": 30}


@dataclass
class Heard:
    """A watcher that remembers."""

    told: list[tuple[str, events.Event]] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    order: list[str] = field(default_factory=list)

    def begun(self, member: str) -> None:
        self.order.append(member)

    def happened(self, member: str, event: events.Event) -> None:
        self.told.append((member, event))

    def ended(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@dataclass
class Yard:
    """A fleet on simulated machines."""

    machines: Machines
    heard: Heard = field(default_factory=Heard)

    def members(self, *names: str, **settings: Any) -> tuple[Member, ...]:
        path = Path("fleet.yaml")
        path.write_text(json.dumps({"defaults": {**FAST, **settings}, "members": list(names)}))
        return spec.load(path, {}, {}).members

    def setting(self, parallel: int = 4) -> Setting:
        return Setting(paths.find(), Path("fleet.yaml"), "fleet up", parallel, self.heard)

    def run(self, members: tuple[Member, ...], deed: Callable[[Workspace], str], parallel: int = 4) -> Result:
        return run.run(members, schedule.InOrder(members), deed, self.setting(parallel))

    def phases(self, *names: str) -> list[str]:
        members = tuple(member for member in self.members(*names))
        return [memory.phase for memory in looking.remembered(members, paths.find()).values()]


@pytest.fixture
def yard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Yard:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "docker-compose.yml").write_text("services: {}\n")
    machines = Machines(tmp_path / "machines")
    monkeypatch.setattr(assembly, "driver", machines)
    monkeypatch.setitem(FAST, "bundle", str(bundle))
    return Yard(machines)


def up(workspace: Workspace) -> str:
    return workspace.up(UpOptions()).value


def words(result: Result) -> dict[str, str]:
    return {outcome.member: outcome.outcome for outcome in result.outcomes}


# ---- isolation


def test_every_member_gets_what_a_single_command_would_give_it(yard: Yard) -> None:
    members = yard.members("a", "b", "c")
    result = yard.run(members, up)
    assert words(result) == dict.fromkeys("abc", "healthy")
    assert result.exit_code is ExitCode.OK
    for name in "abc":
        directory = paths.find().workspace(name)
        record = Store(directory).load().record
        assert record is not None
        assert (record.workspace, record.phase, record.transition) == (name, Phase.HEALTHY, None)
        told = [entry["event"] for entry in Journal(directory).read()]
        assert told == [event.name for member, event in yard.heard.told if member == name and event.name in told]
        assert (told[0], told[-1]) == ("command.started", "command.ended")
        logged = [json.loads(line) for line in (directory / log.FILE).read_text().splitlines()]
        assert {entry["command"] for entry in logged} == {"fleet up"}
        assert len({entry["run"] for entry in logged}) == 1
    assert len({Store(paths.find().workspace(name)).load().record.id for name in "abc"}) == 3  # type: ignore[union-attr]
    outcome = result.outcomes[0]
    assert outcome.driver_calls > 2
    assert outcome.phase == "healthy"


def test_one_that_fails_stops_no_other(yard: Yard) -> None:
    def interfere(name: str, call: str, moment: str) -> None:
        if (name, call, moment) == ("b", "exec:pull", "before"):
            raise GuestUnreachable("it does not answer", cause="two\nlines")

    yard.machines.interfere = interfere
    result = yard.run(yard.members("a", "b", "c"), up, parallel=1)
    assert words(result) == {"a": "healthy", "b": "failed", "c": "healthy"}
    assert result.exit_code is ExitCode.TRANSIENT
    failed = result.outcomes[1]
    assert (failed.phase, failed.exit_code) == ("configured", 75)
    assert failed.error is not None
    assert failed.error["message"] == "it does not answer"
    assert failed.error["phase"] == "images-pulled"
    yard.machines.interfere = lambda *_: None
    assert words(yard.run(yard.members("b"), up)) == {"b": "healthy"}


def test_a_bug_in_one_is_told_logged_and_stops_no_other(yard: Yard) -> None:
    def interfere(name: str, call: str, moment: str) -> None:
        if (name, call, moment) == ("a", "push", "before"):
            raise KeyError("a bug")

    yard.machines.interfere = interfere
    result = yard.run(yard.members("a", "b"), up)
    assert words(result) == {"a": "failed", "b": "healthy"}
    assert result.exit_code is ExitCode.BUG
    assert "Traceback" in (paths.find().workspace("a") / log.FILE).read_text()
    assert result.outcomes[0].error is not None
    assert "KeyError" in result.outcomes[0].error["message"]


def test_one_that_cannot_be_opened_stops_no_other(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def driver(wanted: Any, *rest: Any, **more: Any) -> Any:
        if wanted.name == "a":
            raise DriverUnavailable("no daemon")
        return yard.machines(wanted)

    monkeypatch.setattr(assembly, "driver", driver)
    result = yard.run(yard.members("a", "b"), up)
    assert words(result) == {"a": "failed", "b": "healthy"}
    assert result.exit_code is ExitCode.TRANSIENT


def test_no_more_are_at_work_than_is_said(yard: Yard) -> None:
    gauge, most, lock = [0], [0], threading.Lock()
    three = threading.Barrier(3)

    def deed(_: Workspace) -> str:
        with lock:
            gauge[0] += 1
            most[0] = max(most[0], gauge[0])
        three.wait(PATIENCE)  # really at the same time
        with lock:
            gauge[0] -= 1
        return "done"

    yard.run(yard.members(*(f"m-{number}" for number in range(9))), deed, parallel=3)
    assert most == [3]


def test_secrets_of_one_member_are_struck_out_of_what_is_said_of_it_and_stay_its_own(yard: Yard) -> None:
    yard.run(yard.members("a"), up)  # makes its keys
    known = json.loads((paths.find().secrets("a") / "keys.json").read_text())["passwords"]
    secret = next(iter(known.values()))

    def deed(workspace: Workspace) -> str:
        workspace.status()  # reads the keys
        raise PolisError(f"it said {secret}")

    members = yard.members("a", "b")
    result = yard.run(members, deed)
    assert result.outcomes[0].error is not None
    assert result.outcomes[0].error["message"] == "it said [redacted]"
    assert secret not in (paths.find().workspace("a") / log.FILE).read_text()
    assert redaction.redact(secret) == secret, "nobody else searches all texts for it"


# ---- interruption


class Trap:
    """Lets members hang in a call until the run is interrupted, as a tool that takes its time."""

    def __init__(self, call: str, moment: str, members: int) -> None:
        self.caught = threading.Barrier(members + 1)
        self._at = call, moment

    def __call__(self, _name: str, call: str, moment: str) -> None:
        from polis import interruption

        if (call, moment) == self._at:
            self.caught.wait(PATIENCE)
            interruption.sleep(PATIENCE)


def interrupt_when(trap: Trap, monkeypatch: pytest.MonkeyPatch, signal: str = "SIGINT") -> None:
    """Raise in the main thread, as the signal's handler does, once all members are in the trap."""
    real = run._Crew._wait
    calls: list[int] = []

    def wait(crew: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            trap.caught.wait(PATIENCE)
            raise KeyboardInterrupt(signal)
        real(crew)

    monkeypatch.setattr(run._Crew, "_wait", wait)


@pytest.mark.parametrize(("call", "moment"), [("exec:pull", "during"), ("launch", "during"), ("push", "before")])
def test_an_interruption_ends_those_at_work_so_that_each_can_be_resumed(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, call: str, moment: str
) -> None:
    trap = Trap(call, moment, 2)
    yard.machines.interfere = trap
    members = yard.members("a", "b", "c", "d")
    with monkeypatch.context() as patch:
        interrupt_when(trap, patch)
        result = yard.run(members, up, parallel=2)
    assert words(result) == {"a": "interrupted", "b": "interrupted", "c": "not-begun", "d": "not-begun"}
    assert result.exit_code is ExitCode.INTERRUPTED
    for name in "ab":
        record = Store(paths.find().workspace(name)).load().record
        assert record is not None
        assert record.transition is None
        assert record.last_error is not None
        assert record.last_error.kind == "interrupted"
    assert not paths.find().workspace("c").exists()
    yard.machines.interfere = lambda *_: None
    assert words(yard.run(members, up)) == dict.fromkeys("abcd", "healthy")
    assert [yard.machines.of(name).launches for name in "abcd"] == [1, 1, 1, 1]


def test_sigterm_has_its_own_exit_code(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    trap = Trap("find", "before", 1)
    yard.machines.interfere = trap
    with monkeypatch.context() as patch:
        interrupt_when(trap, patch, "SIGTERM")
        result = yard.run(yard.members("a"), up)
    assert result.exit_code is ExitCode.TERMINATED
    assert result.outcomes[0].exit_code is ExitCode.TERMINATED


def test_a_pause_between_attempts_is_interrupted_too(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    paused = threading.Barrier(2)
    real = Interruption.wait

    def wait(stop: Interruption, seconds: float) -> bool:
        paused.wait(PATIENCE)
        return real(stop, seconds)

    monkeypatch.setattr(Interruption, "wait", wait)

    def deed(_: Workspace) -> str:
        from polis import retry

        def fail() -> str:
            raise DriverUnavailable("not yet")

        patient = retry.Backoff(attempts=9, base=PATIENCE, cap=PATIENCE)
        return retry.call(fail, patient, on_retry=lambda *_: None)

    trap = Trap("none", "none", 0)
    trap.caught = paused
    interrupt_when(trap, monkeypatch)
    assert words(yard.run(yard.members("a"), deed)) == {"a": "interrupted"}


# ---- exit codes and next commands


def test_every_exit_code_has_its_gravity() -> None:
    assert set(GRAVITY) == set(ExitCode)
    assert len(GRAVITY) == len(ExitCode)
    assert worst([]) is ExitCode.OK
    assert worst([ExitCode.PROVISIONING, ExitCode.TRANSIENT, ExitCode.OK]) is ExitCode.PROVISIONING
    assert worst([ExitCode.CONFIGURATION, ExitCode.INTERRUPTED, ExitCode.BUG]) is ExitCode.INTERRUPTED


def test_the_next_command_is_for_the_member_and_its_configuration() -> None:
    def hint(text: str) -> str:
        return str(for_member({"hint": text}, Path("my fleet.yaml"), "web-1")["hint"])

    start = "polis --config 'my fleet.yaml' -n web-1"
    assert hint("`polis status` shows it; `polis up` goes on") == f"`{start} status` shows it; `{start} up` goes on"
    assert hint("`polis fleet up --recreate`") == "`polis fleet up --recreate`"
    assert hint("free some space") == "free some space"


# ---- rolling upgrades


def test_the_limit_is_a_number_or_a_share() -> None:
    assert [schedule.limit(text, 10) for text in ("1", "25%", " 3 ", "1%", "100%", "40")] == [1, 2, 3, 1, 10, 40]
    for bad in ("0", "0%", "-1", "101%", "half", "1.5", ""):
        with pytest.raises(PolisError, match="--max-unavailable"):
            schedule.limit(bad, 10)


def serving(yard: Yard, names: tuple[str, ...]) -> int:
    """Return how many machines have all their services up, judged from the simulated worlds alone."""
    count = 0
    for name in names:
        machine = yard.machines.of(name).world.machine(name)
        containers = list(machine["containers"].values()) if machine is not None else []
        stay = [each for each in containers if each["health"] != "none"]
        count += bool(stay) and all(each["state"] == "running" and each["health"] == "healthy" for each in stay)
    return count


NAMES = ("a", "b", "c", "d", "e", "f")


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_never_more_than_so_many_are_down(yard: Yard, limit: int) -> None:
    yard.run(yard.members(*NAMES), up)
    assert serving(yard, NAMES) == 6
    at_work: set[str] = set()
    most, lock = [0], threading.Lock()

    def deed(workspace: Workspace) -> str:
        with lock:
            at_work.add(workspace.name)
            most[0] = max(most[0], len(at_work))
            assert serving(yard, tuple(set(NAMES) - at_work)) == 6 - len(at_work), "the others are untouched"
        done = up(workspace)
        with lock:
            at_work.discard(workspace.name)
        return done

    changed = yard.members(*NAMES, version="v9.9.9")
    result = rolling.upgrade(changed, deed, yard.setting(6), UpOptions(), limit, recreate=False)
    assert words(result) == dict.fromkeys(NAMES, "healthy")
    assert most[0] <= limit
    assert serving(yard, NAMES) == 6
    again = rolling.upgrade(changed, _nobody, yard.setting(6), UpOptions(), limit, recreate=False)
    assert words(again) == dict.fromkeys(NAMES, "healthy")


def _nobody(workspace: Workspace) -> str:
    raise AssertionError(f"{workspace.name} has all that is wanted")


def test_it_ends_with_the_first_failure_and_the_others_keep_what_they_have(yard: Yard) -> None:
    yard.run(yard.members(*NAMES), up)
    done: list[str] = []

    def deed(workspace: Workspace) -> str:
        if workspace.name == "c":
            raise GuestUnreachable("it does not come up again")
        done.append(workspace.name)
        return up(workspace)

    changed = yard.members(*NAMES, version="v9.9.9")
    result = rolling.upgrade(changed, deed, yard.setting(6), UpOptions(), 1, recreate=False)
    assert words(result) == {"a": "healthy", "b": "healthy", "c": "failed", "d": "kept", "e": "kept", "f": "kept"}
    assert done == ["a", "b"]
    assert result.exit_code is ExitCode.TRANSIENT
    assert serving(yard, ("d", "e", "f")) == 3


def test_those_that_are_down_come_up_first_and_count(yard: Yard) -> None:
    yard.run(yard.members("a", "b", "c"), up)
    for name in ("b", "c"):
        yard.machines.of(name).stop(name=name)
    order: list[tuple[str, int]] = []
    lock = threading.Lock()

    def deed(workspace: Workspace) -> str:
        with lock:
            order.append((workspace.name, serving(yard, ("a", "b", "c"))))
        return up(workspace)

    changed = yard.members("a", "b", "c", version="v9.9.9")
    assert rolling.upgrade(changed, deed, yard.setting(3), UpOptions(), 1, recreate=False).exit_code is ExitCode.OK
    assert [name for name, _ in order][-1] == "a", "while two are down, none that is up is taken"
    assert order[-1][1] == 3


def test_what_needs_a_new_vm_is_refused_before_anything_is_touched(yard: Yard) -> None:
    yard.run(yard.members("a", "b"), up)
    image = {"location": "/other.img", "sha256": "1" * 64}
    changed = yard.members("a", "b", image=image)
    with pytest.raises(PolisError, match="2 members need a new VM: a, b") as caught:
        rolling.upgrade(changed, _nobody, yard.setting(), UpOptions(), 1, recreate=False)
    assert caught.value.exit_code is ExitCode.PENDING

    def anew(workspace: Workspace) -> str:
        return workspace.up(UpOptions(recreate=True)).value

    result = rolling.upgrade(changed, anew, yard.setting(), UpOptions(), 1, recreate=True)
    assert words(result) == {"a": "healthy", "b": "healthy"}


def test_one_that_cannot_be_looked_at_ends_it_before_anything_is_touched(yard: Yard) -> None:
    yard.run(yard.members("a", "b"), up)

    def interfere(name: str, call: str, moment: str) -> None:
        if (name, call, moment) == ("b", "find", "before"):
            raise DriverUnavailable("no daemon")

    yard.machines.interfere = interfere
    changed = yard.members("a", "b", version="v9.9.9")
    result = rolling.upgrade(changed, _nobody, yard.setting(), UpOptions(), 1, recreate=False)
    assert result.exit_code is ExitCode.TRANSIENT
    assert words(result) == {"a": "kept", "b": "failed"}


# ---- what is known without asking guests


def test_each_engine_is_asked_once(yard: Yard) -> None:
    names = tuple(f"m-{number}" for number in range(20))
    members = yard.members(*names)
    yard.run(members, up)
    calls: list[str] = []
    yard.machines.interfere = lambda _name, call, _moment: calls.append(call)
    seen = looking.look(members, paths.find())
    assert yard.machines.asked == ["find_all"]
    assert calls == []
    assert {(sight.phase, sight.recorded) for sight in seen} == {(Phase.HEALTHY, Phase.HEALTHY)}


def test_what_is_off_gone_or_not_ours_is_no_phase(yard: Yard) -> None:
    members = yard.members("a", "b", "c", "d")
    yard.run(members[:3], up)
    yard.machines.of("a").stop(name="a")
    yard.machines.of("b").delete(name="b")
    with yard.machines.of("c").change("c") as machine:
        machine["owner"] = "somebody-else"
    off, gone, foreign, never = looking.look(members, paths.find())
    assert [each.phase for each in (off, gone, foreign, never)] == [Phase.ABSENT] * 4
    assert [each.recorded for each in (off, gone, foreign, never)] == [*[Phase.HEALTHY] * 3, Phase.ABSENT]
    assert foreign.problem is not None
    assert foreign.problem.exit_code is ExitCode.NOT_FOUND
    assert off.instance is not None


def test_an_engine_that_does_not_answer_is_its_members_problem(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    members = yard.members("a")
    yard.run(members, up)

    def refuse(*_: Any, **__: Any) -> Any:
        raise DriverUnavailable("no daemon")

    monkeypatch.setattr(assembly, "driver", refuse)
    (seen,) = looking.look(members, paths.find())
    assert seen.problem is not None
    assert seen.recorded is Phase.HEALTHY
    assert seen.document()["error"]["kind"] == "driver-unavailable"


def test_a_driver_that_cannot_name_all_is_asked_for_each(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.simulated import SimulatedDriver

    members = yard.members("a")
    yard.run(members, up)
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: SimulatedDriver(path=yard.machines.of("a").path))
    assert [sight.phase for sight in looking.look(members, paths.find())] == [Phase.HEALTHY]
