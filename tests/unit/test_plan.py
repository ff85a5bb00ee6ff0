"""What `polis plan` says is what `polis up` does, and saying it changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from polis import assembly, config, events, lock, paths
from polis.cli.plan import render
from polis.errors import ChangesPending, ForeignInstance, GuestUnreachable, PolisError
from polis.phase import ORDER, Phase
from polis.plan import Action, Plan, Step
from polis.store import Store
from polis.workspace import UpOptions, Workspace
from tests.simulated import SimulatedDriver
from tests.typed import run

GIBIBYTE = 1024**3


@dataclass
class Lab:
    """A simulated world, and what is wanted of it now."""

    driver: SimulatedDriver
    directory: Path
    wanted: dict[str, Any] = field(default_factory=lambda: {"retry": {"attempts": 1, "base": 0.001, "cap": 0.001}})
    options: UpOptions = field(default_factory=UpOptions)
    taken: list[events.Event] = field(default_factory=list)

    def take(self, event: events.Event) -> None:
        self.taken.append(event)

    def open(self) -> Workspace:
        self.taken.clear()
        spec = config.Spec.model_validate({"name": "polis", **self.wanted})
        return Workspace(spec, paths.find(), events.Stream([self]), self.driver)

    def plan(self) -> Plan:
        return self.open().plan(self.options)

    def up(self) -> Phase:
        return self.open().up(self.options)

    def phases(self, kind: type[events.Event]) -> list[Phase]:
        return [Phase(event.payload()["phase"]) for event in self.taken if isinstance(event, kind)]

    @property
    def store(self) -> Store:
        return Store(paths.find().workspace("polis"))

    def file(self, name: str, content: str) -> Path:
        path = self.directory / name
        path.write_text(content)
        return path


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(SimulatedDriver(path=tmp_path / "world.json"), tmp_path)


@pytest.fixture
def type_(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Return what types a command as a user would."""
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: lab.driver)
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 1, base: 0.001, cap: 0.001}")

    return lambda line: run(line.split())


# ---- situations that a workspace may be in


def fresh(lab: Lab) -> None:
    """Nothing was ever done."""


def launched(lab: Lab) -> None:
    lab.open().up(UpOptions(target=Phase.LAUNCHED))


def healthy(lab: Lab) -> None:
    lab.open().up(UpOptions())


def stopped(lab: Lab) -> None:
    healthy(lab)
    lab.open().stop()


def rebooted(lab: Lab) -> None:
    healthy(lab)
    lab.driver.stop(name="polis")
    lab.driver.start(name="polis", timeout=1)


def deleted_behind_our_back(lab: Lab) -> None:
    healthy(lab)
    lab.driver.delete(name="polis")


def image_removed(lab: Lab) -> None:
    healthy(lab)
    with lab.driver.change() as machine:
        machine["images"].pop(next(iter(machine["images"])))


def container_killed(lab: Lab) -> None:
    healthy(lab)
    with lab.driver.change() as machine:
        machine["containers"]["gate"].update(state="exited", exit_code=137)


def container_sick(lab: Lab) -> None:
    healthy(lab)
    with lab.driver.change() as machine:
        machine["containers"]["gate"]["health"] = "starting"


def files_edited(lab: Lab) -> None:
    healthy(lab)
    with lab.driver.change() as machine:
        machine["bundle"]["intact"] = False


def reset_halfway(lab: Lab) -> None:
    healthy(lab)
    lab.open().reset(Phase.CONFIGURED)


def outage(lab: Lab) -> None:
    lab.driver.refuse_pull = {"gate": "received unexpected HTTP status: 503 Service Unavailable"}
    with pytest.raises(PolisError):
        lab.open().up(UpOptions())
    lab.driver.refuse_pull = {}


def cut_off(call: str) -> Callable[[Lab], None]:
    def situation(lab: Lab) -> None:
        def interfere(name: str, moment: str) -> None:
            if (name, moment) == (call, "after"):
                raise GuestUnreachable("cut off")

        lab.driver.interfere = interfere
        with pytest.raises(PolisError):
            lab.open().up(UpOptions())
        lab.driver.interfere = lambda _name, _moment: None

    situation.__name__ = f"cut_off_after_{call}"
    return situation


def bundle_changed(lab: Lab) -> None:
    healthy(lab)
    import shutil

    shipped = Path(assembly.__file__).parent / "bundle" / "default"
    mine = lab.directory / "mine"
    shutil.copytree(shipped, mine)
    (mine / "README.md").write_text("mine")
    lab.wanted["bundle"] = mine


def version_changed(lab: Lab) -> None:
    healthy(lab)
    lab.wanted["version"] = "v0.5.1"


def record_lost(lab: Lab) -> None:
    healthy(lab)
    lab.store.forget(last=lock.FILE)


def record_lost_halfway(lab: Lab) -> None:
    lab.open().up(UpOptions(target=Phase.IMAGES_PULLED))
    lab.store.forget(last=lock.FILE)


def record_behind(lab: Lab) -> None:
    healthy(lab)
    record = lab.store.load().record
    assert record is not None
    record.sink(Phase.CONFIGURED)
    lab.store.save(record)


def grown_while_off(lab: Lab) -> None:
    stopped(lab)
    lab.wanted["memory"] = 16 * GIBIBYTE


def foreign_adopted(lab: Lab) -> None:
    healthy(lab)
    with lab.driver.change() as machine:
        machine["owner"] = "somebody-else"
    lab.options = UpOptions(adopt=True)


SITUATIONS = [
    fresh, launched, healthy, stopped, rebooted, deleted_behind_our_back, image_removed, container_killed,
    container_sick, files_edited, reset_halfway, outage, cut_off("launch"), cut_off("exec:place"), cut_off("exec:up"),
    bundle_changed, version_changed, record_lost, record_lost_halfway, record_behind, grown_while_off,
    foreign_adopted,
]  # fmt: skip


def entered_in_vain_or_not(lab: Lab) -> list[Phase]:
    begun = lab.phases(events.PhaseStarted)
    assert begun == lab.phases(events.PhaseCompleted)
    return begun


def of(plan: Plan, *actions: Action) -> list[Phase]:
    return [step.phase for step in plan.steps if step.action in actions]


# ---- one code path


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.__name__)
@pytest.mark.parametrize("target", [Phase.CONFIGURED, Phase.HEALTHY])
def test_up_does_what_plan_says(lab: Lab, situation: Callable[[Lab], None], target: Phase) -> None:
    situation(lab)
    lab.options = UpOptions(target=target, adopt=lab.options.adopt)
    plan = lab.plan()
    assert of(plan, Action.RECREATE) == []
    assert len(of(plan, Action.ENTER)) <= 1
    assert lab.up().rank >= target.rank
    begun = entered_in_vain_or_not(lab)
    assert begun[:1] == of(plan, Action.ENTER)
    assert set(begun[1:]) <= set(of(plan, Action.FOLLOW))
    assert len(set(begun)) == len(begun)
    assert set(of(plan, Action.KEEP, Action.RECOGNISE)) <= set(lab.phases(events.PhaseSkipped))
    drift = [event.reason for event in lab.taken if isinstance(event, events.DriftFound)]
    assert drift == ([plan.drift] if plan.drift else [])
    after = lab.plan()
    assert not after.is_pending
    assert {step.action for step in after.steps} == {Action.KEEP}


def other_document(lab: Lab) -> None:
    lab.wanted["cloud_init"] = lab.file("mine.yaml", "#cloud-config\nusers: [default]\n")


def other_image(lab: Lab) -> None:
    lab.wanted["image"] = {"location": "/nowhere/image", "sha256": hashlib.sha256(b"").hexdigest()}


@pytest.mark.parametrize("before", [launched, healthy], ids=lambda situation: situation.__name__)
@pytest.mark.parametrize("change", [other_document, other_image], ids=lambda change: change.__name__)
def test_what_needs_a_new_vm_is_planned_as_such_and_done_only_when_asked_for(
    lab: Lab, before: Callable[[Lab], None], change: Callable[[Lab], None]
) -> None:
    before(lab)
    change(lab)
    plan = lab.plan()
    assert plan.recreate
    assert of(plan, Action.RECREATE) == [Phase.LAUNCHED]
    with pytest.raises(ChangesPending) as caught:
        lab.up()
    assert caught.value.message == plan.steps[0].reason
    lab.options = UpOptions(recreate=True)
    assert lab.plan().steps[0] == plan.steps[0]
    lab.up()
    assert entered_in_vain_or_not(lab) == list(ORDER[1:])
    lab.options = UpOptions()
    assert not lab.plan().is_pending


def test_recreate_without_need_is_planned_as_asked_for(lab: Lab) -> None:
    healthy(lab)
    lab.options = UpOptions(recreate=True)
    plan = lab.plan()
    assert plan.steps[0] == Step(Phase.LAUNCHED, Action.RECREATE, "asked for")
    lab.up()
    assert entered_in_vain_or_not(lab) == list(ORDER[1:])


def test_recreate_of_nothing_is_planned_as_any_up(lab: Lab) -> None:
    lab.options = UpOptions(recreate=True)
    assert of(lab.plan(), Action.ENTER) == [Phase.LAUNCHED]


def test_hardware_changes_wait_until_the_vm_is_switched_on_and_nothing_is_entered_for_them(lab: Lab) -> None:
    healthy(lab)
    lab.wanted |= {"memory": 16 * GIBIBYTE, "cpus": 2}
    plan = lab.plan()
    assert plan.is_pending
    assert plan.next is None
    assert plan.deferred == ("cpus: 4 -> 2", "memory: 8192 MiB -> 16384 MiB")
    lab.up()
    assert entered_in_vain_or_not(lab) == []
    assert [event.message for event in lab.taken if isinstance(event, events.Warned)]
    assert lab.plan() == plan
    lab.open().stop()
    lab.up()
    assert not lab.plan().is_pending


def test_a_foreign_instance_is_refused_as_up_refuses_it(lab: Lab, type_: Callable[[str], Any]) -> None:
    foreign_adopted(lab)
    lab.options = UpOptions()
    with pytest.raises(ForeignInstance) as planned:
        lab.plan()
    with pytest.raises(ForeignInstance) as done:
        lab.up()
    assert str(planned.value) == str(done.value)
    assert type_("plan").exit_code == 4
    assert type_("plan --adopt").exit_code == 0


# ---- nothing is changed, nobody is waited for


def tree(directory: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(directory.rglob("*"))
    }


def damaged(lab: Lab) -> None:
    healthy(lab)
    (lab.store.directory / "state.json").write_text("{")


@pytest.mark.parametrize(
    "situation", [fresh, healthy, container_killed, record_lost, damaged], ids=lambda situation: situation.__name__
)
def test_planning_changes_nothing_on_disk(
    lab: Lab, type_: Callable[[str], Any], situation: Callable[[Lab], None]
) -> None:
    situation(lab)
    before = tree(lab.directory)
    for line in ("plan", "plan --json", "plan --check", "plan --recreate", "history"):
        assert type_(line).exit_code in (0, 3, 4)
    assert tree(lab.directory) == before


def test_planning_waits_for_nobody(lab: Lab, type_: Callable[[str], Any]) -> None:
    healthy(lab)
    with lock.hold(lab.store.directory, "up"):
        before = tree(lab.store.directory)
        assert type_("stop").exit_code == 5
        assert type_("plan").exit_code == 0
        assert tree(lab.store.directory) == before


# ---- as a user types it


@pytest.mark.parametrize(
    ("situation", "options", "code"),
    [
        (fresh, "", 3), (healthy, "", 0), (container_killed, "", 3), (container_killed, "--to configured", 0),
        (healthy, "--recreate", 3), (healthy, "--version v0.5.1", 3), (record_lost, "", 3),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)  # fmt: skip
def test_check_exits_with_3_if_anything_is_to_be_done(
    lab: Lab, type_: Callable[[str], Any], situation: Callable[[Lab], None], options: str, code: int
) -> None:
    situation(lab)
    assert type_(f"plan --check {options}").exit_code == code
    assert type_(f"plan --check --json {options}").exit_code == code
    assert type_(f"plan {options}").exit_code == 0


def test_json_has_every_promised_key(lab: Lab, type_: Callable[[str], Any]) -> None:
    container_killed(lab)
    told = json.loads(type_("plan --json").stdout)
    assert list(told) == [
        "schema", "workspace", "target", "phase", "recorded_phase", "pending", "recreate", "steps", "drift",
        "remedy", "deferred", "source", "serves",
    ]  # fmt: skip
    assert (told["schema"], told["workspace"], told["phase"]) == (1, "polis", "images-pulled")
    assert (told["recorded_phase"], told["pending"], told["drift"]) == (
        "healthy", True, "gate is not running (exited 137)",
    )  # fmt: skip
    assert [step["action"] for step in told["steps"]] == ["keep", "keep", "keep", "enter", "follow"]


def test_for_people_there_is_a_line_a_phase_and_the_next_command(lab: Lab, type_: Callable[[str], Any]) -> None:
    container_killed(lab)
    assert type_("plan").stdout.splitlines() == [
        "polis: images-pulled holds, healthy is recorded; the target is healthy",
        "    launched       holds",
        "    configured     holds",
        "    images-pulled  holds",
        "    running        enter      gate is not running (exited 137)",
        "    healthy        follow     as far as needed, once running holds",
        "next: polis up",
    ]


def test_a_healthy_workspace_needs_nothing(lab: Lab, type_: Callable[[str], Any]) -> None:
    healthy(lab)
    lines = type_("plan").stdout.splitlines()
    assert (lines[0], lines[-1]) == ("polis: healthy holds; the target is healthy", "nothing is to be done")


def test_the_next_command_has_the_options_of_this_one(
    lab: Lab, type_: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def next_command(line: str) -> str:
        return str(type_(line).stdout.splitlines()[-1])

    mine = lab.file("my document.yaml", "#cloud-config\nusers: [default]\n")
    monkeypatch.chdir(lab.directory)
    assert next_command("plan -n other --to running") == "next: polis up --name other --to running"
    healthy(lab)
    assert next_command("plan --version v0.5.1") == "next: polis up --version v0.5.1"
    assert next_command("plan --recreate") == "next: polis up --recreate"
    mine.rename(lab.directory / "mine.yaml")
    assert next_command("plan --cloud-init mine.yaml") == "next: polis up --recreate --cloud-init mine.yaml"
    assert type_("plan --cloud-init missing.yaml").exit_code == 78


def test_a_change_that_waits_is_told_with_what_brings_it_about(
    lab: Lab, type_: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy(lab)
    monkeypatch.setenv("POLIS_MEMORY", "16G")
    result = type_("plan --check")
    assert result.exit_code == 3
    assert result.stdout.splitlines()[-2:] == [
        "memory: 8192 MiB -> 16384 MiB: takes effect when the VM is next switched on: polis stop, polis up",
        "next: polis stop, then polis up",
    ]


def test_what_a_guest_said_is_made_printable(lab: Lab, type_: Callable[[str], Any]) -> None:
    healthy(lab)
    lab.driver.failing = {"aslr": "\x1b[2J"}
    assert "\x1b" not in type_("plan").stdout


def test_every_action_has_its_word() -> None:
    steps = tuple(Step(phase, action) for phase, action in zip(ORDER[1:], Action, strict=True))
    lines = render(Plan(Phase.HEALTHY, Phase.ABSENT, Phase.ABSENT, steps), "polis", "polis up").splitlines()
    assert [line.split()[1] for line in lines[1:-1]] == ["holds", "recognise", "enter", "follow", "recreate"]
    assert lines[0] == "polis: no phase holds; the target is healthy"
