"""Keeping a provisioned VM, returning to it, and beginning as one, on simulated machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polis import events, paths
from polis.drivers.base import Capabilities
from polis.errors import HostUnsuitable, PolisError
from polis.phase import Phase
from polis.states.savepoint import LABEL
from polis.workspace import UpOptions
from tests.simulated import SimulatedDriver
from tests.simulated.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    can = Capabilities(snapshot=True, clone=True)
    return Lab(SimulatedDriver(path=tmp_path / "world.json", keeps=True, capabilities=can), {"snapshots": True})


def test_the_first_up_keeps_the_vm_before_anything_of_the_workspace_is_in_it(lab: Lab) -> None:
    assert lab.up() is Phase.HEALTHY
    machine = lab.driver.machine_of()
    kept = machine["snapshots"][LABEL]
    assert kept["sealed"]
    assert not machine["sealed"]
    assert (kept["marker"], kept["bundle"], kept["pushes"], kept["images"]) == (None, None, 0, {})
    (template,) = lab.driver.world.templates().values()
    assert (template["marker"], template["bundle"], template["pushes"]) == (None, None, 0)


def test_without_being_asked_for_nothing_is_kept(lab: Lab) -> None:
    lab.up(snapshots=False)
    assert lab.driver.machine_of()["snapshots"] == {}
    assert lab.driver.world.templates() == {}


def test_a_driver_without_snapshots_is_told_before_anything_is_made(tmp_path: Path) -> None:
    lab = Lab(SimulatedDriver(path=tmp_path / "world.json"), {"snapshots": True})
    with pytest.raises(HostUnsuitable, match="takes no snapshots"):
        lab.up()
    assert lab.driver.world.machine("polis") is None


def test_a_second_up_asks_nothing_about_snapshots(lab: Lab) -> None:
    lab.up()
    calls = lab.calls()
    lab.up()
    assert calls == ["find", "exec:probe"]


def test_the_next_workspace_begins_as_the_template_and_is_its_own(lab: Lab) -> None:
    lab.up()
    plan = lab.open("second").plan(UpOptions()).document()
    assert plan["source"].startswith("the template of 2026-11-24")
    assert lab.up("second") is Phase.HEALTHY
    first, second = lab.driver.machine_of(), lab.driver.machine_of("second")
    assert second["template"] in {each["id"] for each in lab.driver.world.templates().values()}
    assert second["owner"] != first["owner"]
    assert second["marker"]["id"] == second["owner"]
    assert second["marker"]["workspace"] == "second"
    assert "begins as the template" in lab.recorder.texts
    assert lab.open("second").status().document["instance"]["template"] == second["template"]
    assert lab.open().status().document["instance"]["template"] is None
    journal = (paths.find().workspace("second") / "journal.jsonl").read_text()
    assert "begins as the template" in journal


@pytest.mark.parametrize("settings", [{"snapshots": False}, {"cloud_init": "own.yaml"}])
def test_a_template_of_other_inputs_is_never_used(lab: Lab, tmp_path: Path, settings: dict[str, Any]) -> None:
    lab.up()
    if "cloud_init" in settings:
        settings = {"cloud_init": tmp_path / "own.yaml"}
        text = "#cloud-config\nruncmd: [[touch, /var/lib/polis/provisioned.json]]\n"
        settings["cloud_init"].write_text(text)
    assert lab.open("second", **settings).plan(UpOptions()).source == ""
    lab.up("second", **settings)
    assert lab.driver.machine_of("second")["template"] == ""


def test_a_reset_to_launched_restores_the_snapshot(lab: Lab) -> None:
    lab.up()
    assert lab.open().loses(Phase.LAUNCHED)
    owner = lab.driver.machine_of()["owner"]
    calls = lab.calls()
    assert lab.open().reset(Phase.LAUNCHED) is Phase.LAUNCHED
    assert "exec:down" not in calls
    assert "exec:remove-bundle" not in calls
    machine = lab.driver.machine_of()
    assert (machine["restored"], machine["bundle"], machine["volume"]) == (1, None, None)
    assert (machine["owner"], machine["marker"]["id"], machine["sealed"]) == (owner, owner, False)
    assert machine["complete_snapshots"] == [LABEL]
    assert lab.open().status().phase is Phase.LAUNCHED
    assert "what its snapshot was" in (paths.find().workspace("polis") / "journal.jsonl").read_text()
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.machine_of()["needless"] == []


def test_a_vm_that_is_off_is_restored_without_being_switched_on_first(lab: Lab) -> None:
    lab.up()
    lab.open().stop()
    assert lab.open().reset(Phase.LAUNCHED) is Phase.LAUNCHED
    assert lab.driver.machine_of()["restored"] == 1


def test_what_is_launched_and_has_nothing_above_is_not_restored(lab: Lab) -> None:
    lab.open().up(UpOptions(target=Phase.LAUNCHED))
    assert not lab.open().loses(Phase.LAUNCHED)
    lab.open().reset(Phase.LAUNCHED)
    assert lab.driver.machine_of()["restored"] == 0


@pytest.mark.parametrize("how", ["stepwise", "one by one", "to another phase", "unfinished", "not asked for"])
def test_a_reset_that_undoes_step_by_step_keeps_the_volumes(lab: Lab, how: str) -> None:
    lab.up()
    volume = lab.driver.machine_of()["volume"]
    if how == "one by one":
        for _ in range(4):
            lab.open().reset(None)
    elif how == "to another phase":
        lab.open().reset(Phase.CONFIGURED)
    elif how == "unfinished":
        with lab.driver.change() as machine:
            machine["complete_snapshots"] = []
        lab.open().reset(Phase.LAUNCHED)
    else:
        lab.open(snapshots=how == "stepwise").reset(Phase.LAUNCHED, stepwise=how == "stepwise")
    machine = lab.driver.machine_of()
    assert (machine["restored"], machine["volume"]) == (0, volume)


def test_a_snapshot_of_other_inputs_is_not_restored(lab: Lab) -> None:
    lab.up()
    with lab.driver.change() as machine:
        machine["snapshots"][LABEL]["fingerprint"] = "cloud-init=0 driver=0 image=0"
    assert not lab.open().loses(Phase.LAUNCHED)
    lab.open().reset(Phase.LAUNCHED)
    assert lab.driver.machine_of()["restored"] == 0


@pytest.mark.parametrize("call", ["exec:seal", "take", "template", "offer"])
def test_what_cannot_be_kept_is_told_and_no_failure(lab: Lab, call: str) -> None:
    def fail(called: str, moment: str) -> None:
        if called == call and moment == "before":
            raise PolisError("the storage is full")

    lab.driver.interfere = fail
    assert lab.up() is Phase.HEALTHY
    warnings = [event.message for event in lab.recorder.taken if isinstance(event, events.Warned)]
    assert any("the storage is full" in text for text in warnings)
    assert not lab.driver.machine_of()["sealed"]


def test_a_vm_that_was_made_to_forget_whose_it_is_is_never_kept(lab: Lab) -> None:
    def fail(called: str, moment: str) -> None:
        if called == "take" and moment == "before":
            raise PolisError("the storage is full")

    lab.driver.interfere = fail
    lab.up()
    lab.driver.interfere = lambda _call, _moment: None
    with lab.driver.change() as machine:  # somebody who broke into it
        machine["marker"] = None
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.machine_of()["snapshots"] == {}
    assert lab.driver.world.templates() == {}


def test_a_vm_made_before_it_was_asked_for_is_left_as_it_is(lab: Lab) -> None:
    lab.up(snapshots=False)
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.machine_of()["snapshots"] == {}


def test_delete_leaves_the_template_for_the_next_and_delete_all_withdraws_it(lab: Lab) -> None:
    lab.up()
    lab.open().delete()
    assert len(lab.driver.world.templates()) == 1
    lab.up()
    assert lab.driver.machine_of()["template"]
    lab.up("second")
    lab.open().delete(secrets=True)
    assert len(lab.driver.world.templates()) == 1, "another began as it"
    lab.open("second").delete()
    assert lab.open("second").delete(secrets=True)
    assert lab.driver.world.templates() == {}


def test_a_template_that_cannot_be_withdrawn_is_told_and_everything_else_is_deleted(lab: Lab) -> None:
    def fail(called: str, moment: str) -> None:
        if called == "withdraw" and moment == "before":
            raise PolisError("no right to images")

    lab.up()
    lab.driver.interfere = fail
    assert lab.open().delete(secrets=True)
    assert "no right to images" in lab.recorder.texts
    assert not lab.open().exists()


def test_the_plan_says_what_a_recreated_vm_begins_as(lab: Lab) -> None:
    lab.up()
    document = lab.open().plan(UpOptions(recreate=True)).document()
    assert document["source"]
    assert json.dumps(document)
    assert lab.open().plan(UpOptions()).source == ""
    lab.open().up(UpOptions(recreate=True))
    assert lab.driver.machine_of()["template"]
