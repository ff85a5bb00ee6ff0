"""Which driver a workspace gets, and that a VM is never left behind with another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from polis import assembly, config, events, paths
from polis.errors import ChangesPending, ForeignInstance
from polis.phase import Phase
from polis.store import Store
from polis.workspace import UpOptions, Workspace
from tests.simulated import SimulatedDriver


@pytest.mark.parametrize(
    ("configured", "recorded", "installed", "chosen"),
    [
        ("qemu", "multipass", True, "qemu"),
        ("multipass", "qemu", False, "multipass"),
        (None, "qemu", True, "qemu"),
        ("incus", "qemu", True, "incus"),
        (None, "incus", True, "incus"),
        (None, "multipass", False, "multipass"),
        (None, None, True, "multipass"),
        (None, None, False, "qemu"),
    ],
)
def test_configuration_then_record_then_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, configured: str | None, recorded: str | None, installed: bool, chosen: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if installed else None)
    spec = config.Spec.model_validate({"driver": configured})
    assert assembly.driver(spec, paths.find(), recorded=recorded).name == chosen


def workspace(driver: SimulatedDriver) -> Workspace:
    return Workspace(config.Spec(), paths.find(), events.Stream(), driver)


def test_a_vm_of_another_driver_is_not_left_behind(tmp_path: Path) -> None:
    first = SimulatedDriver(path=tmp_path / "first.json", name="first")
    second = SimulatedDriver(path=tmp_path / "second.json", name="second")
    workspace(first).up(UpOptions(target=Phase.LAUNCHED))
    for attempt in (lambda: workspace(second).up(UpOptions()), lambda: workspace(second).status()):
        with pytest.raises(ChangesPending, match="made with the driver first, not second") as caught:
            attempt()
        assert "polis --driver first delete" in caught.value.hint
    assert not second.path.exists()
    workspace(first).delete()
    assert workspace(second).up(UpOptions()) is Phase.HEALTHY
    record = Store(paths.find().workspace("polis")).load().record
    assert record is not None
    assert record.driver == "second"


def test_a_record_without_a_vm_moves_to_another_driver(tmp_path: Path) -> None:
    first = SimulatedDriver(path=tmp_path / "first.json", name="first")
    second = SimulatedDriver(path=tmp_path / "second.json", name="second")
    workspace(first).up(UpOptions(target=Phase.LAUNCHED))
    workspace(first).reset(Phase.ABSENT)
    assert workspace(second).up(UpOptions()) is Phase.HEALTHY
    record = Store(paths.find().workspace("polis")).load().record
    assert record is not None
    assert record.driver == "second"


def test_a_deleted_namesake_of_somebody_else_is_told_apart(tmp_path: Path) -> None:
    driver = SimulatedDriver(path=tmp_path / "world.json", name="multipass", stamps=False)
    workspace(driver).up(UpOptions(target=Phase.LAUNCHED))
    with driver.change("polis") as machine:
        machine["state"] = "deleted"
    Store(paths.find().workspace("polis")).forget(last="lock")
    with pytest.raises(ForeignInstance, match="a deleted instance keeps the name polis") as caught:
        workspace(driver).up(UpOptions())
    assert "multipass delete --purge polis" in caught.value.hint
