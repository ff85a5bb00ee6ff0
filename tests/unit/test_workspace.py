"""What the commands promise, on a simulated guest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from polis import events, paths
from polis.errors import (
    ChangesPending,
    ConfigurationError,
    ForeignInstance,
    GuestUnreachable,
    HostUnsuitable,
    ImageRefused,
    IntegrityError,
    NotFound,
    PolisError,
    ProvisioningFailed,
    RegistryUnavailable,
    SourceUnavailable,
    Unhealthy,
)
from polis.phase import ORDER, Phase
from polis.states import launched
from polis.store import Store
from polis.workspace import UpOptions
from tests.simulated import SimulatedDriver
from tests.simulated.lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(SimulatedDriver(path=tmp_path / "world.json"))


def test_up_goes_from_nothing_to_healthy_phase_by_phase(lab: Lab) -> None:
    assert lab.up() is Phase.HEALTHY
    assert lab.recorder.phases(events.PhaseCompleted) == [str(phase) for phase in ORDER[1:]]
    assert lab.open().status().phase is Phase.HEALTHY
    assert set(lab.record.phases) == set(ORDER[1:])


def test_a_second_up_is_a_no_op_of_two_driver_calls_and_writes_nothing(lab: Lab) -> None:
    lab.up()
    before = (paths.find().workspace("polis") / "state.json").stat().st_mtime_ns
    calls = lab.calls()
    assert lab.up() is Phase.HEALTHY
    assert calls == ["find", "exec:probe", "find", "exec:probe"][: len(calls)]
    assert len(calls) <= 2
    assert (paths.find().workspace("polis") / "state.json").stat().st_mtime_ns == before
    assert lab.recorder.phases(events.PhaseSkipped) == [str(phase) for phase in ORDER[1:]]


def test_status_takes_two_driver_calls(lab: Lab) -> None:
    lab.up()
    calls = lab.calls()
    lab.open().status()
    assert calls == ["find", "exec:probe"]


@pytest.mark.parametrize("target", ORDER[1:])
def test_up_stops_at_the_target(lab: Lab, target: Phase) -> None:
    assert lab.open().up(UpOptions(target=target)) is target
    assert lab.open().status().phase is target


def test_an_outage_exits_transient_and_the_next_up_pulls_only_what_is_missing(lab: Lab) -> None:
    lab.driver.refuse_pull = {"polis-workspace": "received unexpected HTTP status: 503 Service Unavailable"}
    with pytest.raises(RegistryUnavailable) as caught:
        lab.up()
    assert caught.value.exit_code == 75
    assert caught.value.attempts == 3
    assert "polis-workspace" in caught.value.message
    assert "ghcr.io" in caught.value.message
    assert "503" in caught.value.cause
    assert "2 of 3 images" in caught.value.remains
    status = lab.open().status()
    assert status.phase is Phase.CONFIGURED
    assert status.document["pending"] == ["images-pulled", "running", "healthy"]
    assert status.document["last_error"]["retryable"] is True
    assert "polis up" in status.document["last_error"]["hint"]
    boot = lab.driver.machine_of()["boot_id"]
    lab.driver.refuse_pull = {}
    assert lab.up() is Phase.HEALTHY
    machine = lab.driver.machine_of()
    assert machine["boot_id"] == boot
    assert machine["pushes"] == 2  # one bundle, one archive of keys
    assert sorted(machine["pulls"]) == sorted(set(machine["pulls"]))
    assert lab.record.last_error is None


def test_a_missing_tag_fails_at_once(lab: Lab) -> None:
    lab.driver.refuse_pull = {"polis-gate": "manifest for polis-gate not found: manifest unknown: manifest unknown"}
    with pytest.raises(ImageRefused) as caught:
        lab.up()
    assert caught.value.exit_code == 70
    assert caught.value.attempts == 1
    assert lab.recorder.phases(events.PhaseRetry) == []


def test_an_unhealthy_service_fails_with_its_log_and_up_goes_on_when_it_is_well(lab: Lab) -> None:
    lab.driver.sick = {"gate"}
    with pytest.raises(Unhealthy) as caught:
        lab.up()
    assert "gate" in caught.value.message
    assert "gate is sick" in caught.value.cause
    assert lab.open().status().phase is Phase.RUNNING
    lab.driver.sick = set()
    assert lab.up() is Phase.HEALTHY
    assert lab.recorder.phases(events.PhaseCompleted) == ["healthy"]


def test_stop_and_up_again_provisions_and_pulls_nothing(lab: Lab) -> None:
    lab.up()
    before = lab.driver.machine_of()
    assert lab.open().stop() is True
    status = lab.open().status()
    assert status.phase is Phase.ABSENT
    assert status.document["instance"]["state"] == "stopped"
    assert status.document["recorded_phase"] == "healthy"
    assert "off" in status.document["drift"][0]["reason"]
    assert lab.open().stop() is False
    assert lab.up() is Phase.HEALTHY
    after = lab.driver.machine_of()
    assert (after["pulls"], after["pushes"], after["creations"]) == (
        before["pulls"], before["pushes"], before["creations"],
    )  # fmt: skip
    assert lab.driver.launches == 1


def test_an_engine_that_is_still_starting_is_waited_for(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launched, "INTERVAL", 0.0)
    lab.driver.probes_without_docker = 4
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.probes_without_docker == 0


def test_an_engine_that_never_starts_is_an_error_with_its_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launched, "INTERVAL", 0.0)
    monkeypatch.setattr(launched, "DOCKER_GRACE", 0.0)
    lab.driver.probes_without_docker = 10**6
    with pytest.raises(ProvisioningFailed, match="connection refused") as caught:
        lab.up()
    assert caught.value.exit_code == 70
    assert "restart docker" in caught.value.hint


def test_after_a_reboot_one_shot_services_have_to_run_again(lab: Lab) -> None:
    lab.up()
    lab.driver.stop(name="polis")
    lab.driver.start(name="polis", timeout=1)
    status = lab.open().status()
    assert status.phase is Phase.IMAGES_PULLED
    assert "init did not run since the VM was switched on" in status.document["drift"][0]["reason"]
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.launches == 1


def test_reset_leaves_one_phase_at_a_time(lab: Lab) -> None:
    lab.up()
    reached = [lab.open().reset(None) for _ in range(5)]
    assert reached == [Phase.RUNNING, Phase.IMAGES_PULLED, Phase.CONFIGURED, Phase.LAUNCHED, Phase.ABSENT]
    assert lab.driver.world.load()["instances"] == {}


def test_each_reset_removes_what_its_phase_built(lab: Lab) -> None:
    lab.up()
    lab.open().reset(Phase.IMAGES_PULLED)
    assert lab.driver.machine_of()["containers"] == {}
    assert len(lab.driver.machine_of()["images"]) == 3
    lab.open().reset(Phase.CONFIGURED)
    assert lab.driver.machine_of()["images"] == {}
    lab.open().reset(Phase.LAUNCHED)
    assert lab.driver.machine_of()["bundle"] is None
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.launches == 1


def test_reset_of_a_stopped_vm_switches_it_on_to_remove_things(lab: Lab) -> None:
    lab.up()
    lab.open().stop()
    assert lab.open().reset(Phase.LAUNCHED) is Phase.LAUNCHED
    assert lab.driver.machine_of()["containers"] == {}


def test_reset_of_a_stopped_vm_that_fails_is_recorded_and_goes_on(lab: Lab) -> None:
    lab.up()
    lab.open().stop()
    interrupt(lab.driver, "launch", "before")
    with pytest.raises(GuestUnreachable):
        lab.open().reset(Phase.CONFIGURED)
    assert lab.record.phase is Phase.HEALTHY
    assert lab.record.last_error is not None
    assert lab.record.last_error.phase is Phase.LAUNCHED
    assert lab.open().reset(Phase.CONFIGURED) is Phase.CONFIGURED
    assert lab.driver.machine_of()["images"] == {}
    assert lab.record.last_error is None


def test_reset_removes_nothing_of_the_phase_that_is_to_stay(lab: Lab) -> None:
    lab.up()
    with lab.driver.change() as machine:
        machine["images"].popitem()
    lab.driver.refuse_pull = {"": "digest mismatch"}
    with pytest.raises(IntegrityError):
        lab.up()
    assert lab.record.phase is Phase.CONFIGURED
    lab.open().reset(Phase.IMAGES_PULLED)
    assert lab.driver.machine_of()["containers"] == {}
    assert len(lab.driver.machine_of()["images"]) == 2


def test_a_new_version_re_enters_only_what_it_touches(lab: Lab) -> None:
    lab.up()
    assert lab.up(version="v0.5.1") is Phase.HEALTHY
    assert lab.recorder.phases(events.PhaseCompleted) == ["configured", "images-pulled", "running", "healthy"]
    drift = [event for event in lab.recorder.taken if isinstance(event, events.DriftFound)]
    assert drift[0].reason == "changed: version"
    assert lab.driver.launches == 1


def test_what_needs_a_new_vm_is_never_done_silently(lab: Lab, tmp_path: Path) -> None:
    lab.up()
    document = tmp_path / "mine.yaml"
    document.write_text("#cloud-config\nusers: [default]\n")
    with pytest.raises(ChangesPending, match="cloud-init") as caught:
        lab.up(cloud_init=document)
    assert "--recreate" in caught.value.hint
    assert lab.driver.launches == 1
    assert lab.open(cloud_init=document).up(UpOptions(recreate=True)) is Phase.HEALTHY
    assert lab.driver.launches == 2


def test_the_document_changing_during_an_interrupted_launch_is_noticed(lab: Lab, tmp_path: Path) -> None:
    interrupt(lab.driver, "launch", "after")
    with pytest.raises(GuestUnreachable):
        lab.up()
    document = tmp_path / "mine.yaml"
    document.write_text("#cloud-config\nusers: [default]\n")
    with pytest.raises(ChangesPending):
        lab.up(cloud_init=document)
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.launches == 1


def interrupt(driver: SimulatedDriver, call: str, moment: str, error: Callable[[], Exception] | None = None) -> None:
    """Let one call fail once."""

    def interfere(name: str, when: str) -> None:
        if (name, when) == (call, moment):
            driver.interfere = lambda _name, _when: None
            raise error() if error is not None else GuestUnreachable("cut off")

    driver.interfere = interfere


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    "call",
    ["launch", "exec:wait", "exec:sign", "push", "exec:place", "exec:pull", "exec:up", "exec:watch"],
)
def test_after_any_failed_call_the_next_up_heals_and_doubles_nothing(lab: Lab, call: str, moment: str) -> None:
    interrupt(lab.driver, call, moment)
    try:
        lab.up()
    except (GuestUnreachable, RegistryUnavailable):
        assert lab.record.last_error is not None
    assert lab.up() is Phase.HEALTHY
    machine = lab.driver.machine_of()
    assert lab.driver.launches == 1
    assert machine["creations"] == 3
    assert lab.record.last_error is None
    assert lab.record.transition is None


def test_drift_is_told_and_mended(lab: Lab) -> None:
    lab.up()
    with lab.driver.change() as machine:
        machine["containers"]["gate"].update(state="exited", exit_code=137)
    status = lab.open().status()
    assert status.phase is Phase.IMAGES_PULLED
    assert status.document["drift"] == [{"phase": "running", "reason": "gate is not running (exited 137)"}]
    assert lab.up() is Phase.HEALTHY


def test_an_edited_bundle_in_the_guest_is_put_right(lab: Lab) -> None:
    lab.up()
    with lab.driver.change() as machine:
        machine["bundle"]["intact"] = False
    assert lab.open().status().phase is Phase.LAUNCHED
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.machine_of()["pushes"] == 4  # bundle and keys, twice


def test_a_lost_record_is_rebuilt_from_the_guest(lab: Lab) -> None:
    lab.up()
    identity = lab.record.id
    Store(paths.find().workspace("polis")).forget(last="lock")
    assert lab.open().status().phase is Phase.HEALTHY
    assert lab.up() is Phase.HEALTHY
    assert lab.record.id == identity
    assert lab.driver.launches == 1


def test_a_foreign_instance_is_refused_and_untouched(lab: Lab) -> None:
    lab.up()
    with lab.driver.change() as machine:
        machine["owner"] = "somebody-else"
    before = lab.driver.machine_of()
    for act in (lab.up, lambda: lab.open().reset(Phase.ABSENT), lambda: lab.open().delete()):
        with pytest.raises(ForeignInstance) as caught:
            act()
        assert caught.value.exit_code == 4
    assert lab.driver.machine_of() == before
    assert lab.open().status().phase is Phase.ABSENT


def test_adopt_takes_an_instance_over(lab: Lab) -> None:
    lab.up()
    with lab.driver.change() as machine:
        machine["owner"] = "somebody-else"
    assert lab.open().up(UpOptions(adopt=True)) is Phase.HEALTHY
    assert lab.record.id == "somebody-else"


def test_delete_leaves_neither_instance_nor_record(lab: Lab) -> None:
    lab.up()
    assert lab.open().delete() is True
    assert lab.driver.world.load()["instances"] == {}
    assert not paths.find().workspace("polis").exists()
    assert lab.open().delete() is False


def test_a_second_workspace_is_untouched(lab: Lab) -> None:
    lab.open("other").up(UpOptions())
    other = lab.driver.machine_of("other")
    lab.up()
    lab.open().reset(Phase.LAUNCHED)
    lab.open().stop()
    lab.open().delete()
    assert lab.driver.machine_of("other") == other
    assert lab.open("other").status().phase is Phase.HEALTHY


def test_commands_on_nothing_say_so(lab: Lab) -> None:
    with pytest.raises(NotFound):
        lab.open().reset(None)
    with pytest.raises(NotFound):
        lab.open().stop()
    with pytest.raises(NotFound):
        lab.open().shell(["true"])
    assert lab.open().status().phase is Phase.ABSENT
    assert not paths.find().workspace("polis").exists()


def test_an_up_that_failed_before_it_began_anything_leaves_nothing(lab: Lab) -> None:
    def refuse(call: str, moment: str) -> None:
        if (call, moment) == ("find", "before"):
            raise HostUnsuitable("no such driver")

    lab.driver.interfere = refuse
    with pytest.raises(HostUnsuitable):
        lab.up()
    assert not paths.find().workspace("polis").exists()
    lab.driver.interfere = lambda _call, _moment: None
    assert lab.up() is Phase.HEALTHY


def test_exec_passes_the_exit_code_through(lab: Lab) -> None:
    lab.up()
    assert lab.open().shell(["false"]) == 7


def test_a_guest_that_does_not_answer_is_not_called_absent(lab: Lab) -> None:
    lab.up()
    interrupt(lab.driver, "exec:probe", "before")
    status = lab.open().status()
    assert status.phase is Phase.ABSENT
    assert status.document["instance"]["state"] == "running"
    assert "does not answer" in status.document["drift"][0]["reason"]
    (check,) = status.document["checks"]
    assert (check["name"], check["ok"], check["detail"]) == ("guest-answers", False, "cut off")


def test_an_interruption_keeps_the_phase_and_says_where(lab: Lab) -> None:
    interrupt(lab.driver, "exec:pull", "before", lambda: KeyboardInterrupt("SIGINT"))  # type: ignore[arg-type, return-value]
    with pytest.raises(Exception, match="images-pulled") as caught:
        lab.up()
    assert caught.value.exit_code == 130  # type: ignore[attr-defined]
    assert lab.record.phase is Phase.CONFIGURED
    assert lab.record.transition is None
    assert lab.up() is Phase.HEALTHY


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [("integrity", IntegrityError, 77), ("unreachable", SourceUnavailable, 75), ("missing", ProvisioningFailed, 70)],
)
def test_a_first_boot_that_gave_up_says_why_and_what_to_type(
    lab: Lab, kind: str, error: type[PolisError], code: int
) -> None:
    lab.driver.mishap = {"kind": kind, "what": "sysbox.deb", "expected": "the sha256 aaa", "actual": "bbb"}
    for _again in range(2):
        with pytest.raises(error) as caught:
            lab.up()
        assert caught.value.exit_code == code
        assert "sysbox.deb: expected the sha256 aaa, got bbb" in caught.value.message
        assert "the VM is up" in caught.value.remains
        assert "polis up --recreate" in caught.value.hint
    status = lab.open().status()
    assert (status.phase, status.next_command) == (Phase.ABSENT, "polis up --recreate")
    assert "sysbox.deb" in status.document["obstacle"]["reason"]
    lab.driver.mishap = None
    assert lab.open().up(UpOptions(recreate=True)) is Phase.HEALTHY
    assert lab.driver.launches == 2


def test_a_check_of_the_provisioning_that_fails_keeps_the_workspace_from_launched(lab: Lab) -> None:
    lab.driver.failing = {"aslr": "0", "shadow": "0644 root"}
    with pytest.raises(ProvisioningFailed) as caught:
        lab.up()
    assert caught.value.exit_code == 70
    assert "aslr: expected 1, saw 0 (and 1 more)" in caught.value.message
    assert "addresses must not be predictable; mend: polis exec sudo sysctl --system" in caught.value.cause
    assert "shadow: expected 1, saw 0644 root" in caught.value.cause
    assert "sysctl --system" in caught.value.hint
    lab.driver.failing = {}
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.launches == 1


def test_a_check_of_the_guest_that_fails_later_is_drift_and_keeps_it_from_healthy(lab: Lab) -> None:
    lab.up()
    lab.driver.failing = {"clock": "+7200 s"}
    status = lab.open().status()
    assert status.phase is Phase.RUNNING
    assert "clock: expected 1, saw +7200 s" in status.document["drift"][0]["reason"]
    assert status.next_command == "polis stop, then polis up"
    (failed,) = [check for check in status.document["checks"] if not check["ok"]]
    assert failed["name"] == "clock"
    with pytest.raises(ProvisioningFailed, match="clock"):
        lab.up()
    lab.driver.failing = {}
    assert lab.up() is Phase.HEALTHY


def test_warnings_about_a_document_are_told_when_a_vm_is_made_from_it_and_not_again(lab: Lab, tmp_path: Path) -> None:
    document = tmp_path / "mine.yaml"
    document.write_text(
        "#cloud-config\nusers: [default]\nhostname: x\nruncmd: [touch /var/lib/polis/provisioned.json]\n"
    )

    def warnings() -> list[str]:
        return [event.message for event in lab.recorder.taken if isinstance(event, events.Warned)]

    lab.up(cloud_init=document)
    assert [text for text in warnings() if "Hyper-V" in text and f"{document}:3:1" in text]
    lab.up(cloud_init=document)
    assert warnings() == []


NEWER = {"version": "v0.5.1"}


def test_an_upgrade_that_fails_leaves_the_old_services_alone_until_all_images_are_there(lab: Lab) -> None:
    lab.up()
    before = lab.driver.machine_of()
    lab.driver.refuse_pull = {"polis-workspace:v0.5.1": "received unexpected HTTP status: 503 Service Unavailable"}
    with pytest.raises(RegistryUnavailable):
        lab.up(**NEWER)
    now = lab.driver.machine_of()
    assert now["containers"] == before["containers"]
    assert set(before["images"]) < set(now["images"])
    lab.driver.refuse_pull = {}
    assert lab.up(**NEWER) is Phase.HEALTHY


def test_reset_after_a_failed_upgrade_gives_the_old_configuration_back_and_touches_no_service(lab: Lab) -> None:
    lab.up()
    before = lab.driver.machine_of()
    lab.driver.refuse_pull = {"polis-workspace:v0.5.1": "received unexpected HTTP status: 503 Service Unavailable"}
    with pytest.raises(RegistryUnavailable):
        lab.up(**NEWER)
    lab.open("polis", **NEWER).reset(None)
    now = lab.driver.machine_of()
    assert now["containers"] == before["containers"]
    assert now["images"] == before["images"]
    calls = lab.calls()
    assert lab.up() is Phase.HEALTHY  # as it was configured before the upgrade
    assert [call for call in calls if call not in ("find", "exec:probe")] == []


def test_reset_after_an_upgrade_gives_the_old_configuration_back(lab: Lab) -> None:
    lab.up()
    old = lab.driver.machine_of()["bundle"]["marker"]
    lab.up(**NEWER)
    lab.open("polis", **NEWER).reset(Phase.LAUNCHED)
    machine = lab.driver.machine_of()
    assert machine["bundle"]["marker"] == old
    assert machine["containers"] == {}
    assert all(image.endswith(":v0.5.0") for image in machine["images"])
    assert lab.open("polis", **NEWER).status().phase is Phase.LAUNCHED
    pushes = machine["pushes"]
    assert lab.up() is Phase.HEALTHY
    assert lab.driver.machine_of()["pushes"] == pushes


def test_keys_outlive_reset_recreation_and_delete_but_not_delete_all(lab: Lab) -> None:
    lab.up()
    keys = paths.find().secrets("polis") / "keys.json"
    made = keys.read_bytes()
    lab.open().reset(Phase.LAUNCHED)
    lab.up()
    lab.open().up(UpOptions(recreate=True))
    lab.up(**NEWER)
    lab.open().delete()
    lab.up()
    assert keys.read_bytes() == made
    lab.open().delete(secrets=True)
    assert not keys.parent.exists()


def test_damaged_keys_are_told_and_stop_up_but_neither_status_nor_reset_nor_delete(lab: Lab) -> None:
    lab.up()
    keys = paths.find().secrets("polis") / "keys.json"
    keys.write_text("{")
    status = lab.open().status()
    assert status.phase is Phase.LAUNCHED
    assert "damaged" in json.dumps(status.document["drift"])
    with pytest.raises(ConfigurationError, match="damaged"):
        lab.up()
    assert keys.read_text() == "{"
    assert lab.open().reset(Phase.LAUNCHED) is Phase.LAUNCHED
    assert lab.open().delete(secrets=True)
    assert not keys.exists()
    assert lab.up() is Phase.HEALTHY


def test_status_tells_the_digest_of_the_image_that_is_there(lab: Lab) -> None:
    def digests() -> dict[str, str | None]:
        return {each["name"]: each["digest"] for each in lab.open().status().document["services"]}

    lab.up()
    before = digests()
    assert all(before.values())
    with lab.driver.change() as machine:
        reference = next(each for each in machine["images"] if "polis-gate" in each)
        machine["images"][reference] = "sha256:" + "0" * 64
    assert digests() == {**before, "gate": "sha256:" + "0" * 64}
    with lab.driver.change() as machine:
        del machine["images"][reference]
    assert digests() == {**before, "gate": None}


def test_a_lost_key_file_is_made_anew_and_placed(lab: Lab) -> None:
    lab.up()
    (paths.find().secrets("polis") / "keys.json").unlink()
    status = lab.open().status()
    assert status.phase is Phase.LAUNCHED
    assert "keys" in str(status.document["drift"]) or "secrets" in str(status.document["drift"])
    assert lab.up() is Phase.HEALTHY


def test_a_damaged_key_file_changes_nothing(lab: Lab) -> None:
    lab.up()
    keys = paths.find().secrets("polis") / "keys.json"
    keys.write_text("{")
    before = lab.driver.machine_of()
    with pytest.raises(PolisError, match="is damaged"):
        lab.up()
    assert lab.driver.machine_of()["containers"] == before["containers"]
    assert keys.read_text() == "{"
