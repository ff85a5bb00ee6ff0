"""The whole of `polis up` through the Multipass driver: a fake client that keeps the observed contract, a real VM.

In the order of this file; every test leaves the workspace for the next.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab.world import World
from tests.e2e.conftest import ROOT, User, eventually
from tests.fakes.multipass.install import Fake

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

SIMULATED = "tests.fakes.multipass.simulated:SimulatedGuest"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory, world: World) -> Iterator[Fake]:
    """A Multipass with two instances of somebody else: one that runs, one that is deleted but kept."""
    directory = tmp_path_factory.mktemp("multipass")
    program = ROOT / "tests" / "fakes" / "multipass" / "program.py"
    (directory / "bin").mkdir()
    (directory / "state").mkdir()
    client = directory / "bin" / "multipass"
    client.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(program))} "$@"\n')
    client.chmod(0o755)
    fake = Fake(directory / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{client.parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("POLIS_FAKE_MULTIPASS", str(fake.directory))
        patch.setenv("POLIS_FAKE_MULTIPASS_IMAGE", str(ROOT / ".lab" / "image.json"))
        patch.setenv("POLIS_FAKE_MULTIPASS_GUEST", SIMULATED)
        for name in ("theirs", "polis-deleted"):
            assert fake.multipass("launch", "--name", name).returncode == 0
        assert fake.multipass("delete", "polis-deleted").returncode == 0
        assert fake.multipass("stop", "theirs").returncode == 0
        patch.setenv("POLIS_FAKE_MULTIPASS_GUEST", "tests.fakes.multipass.vm:VmGuest")
        yield fake
        fake.destroy()


@pytest.fixture(scope="module")
def someone(fake: Fake, user: User, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user of Multipass: the lab's endpoints, and an image that Multipass can boot."""
    descriptor = ROOT / ".lab" / "image.json"
    image = json.loads(descriptor.read_text())
    plain = {"location": str(descriptor.parent / image["location"]), "sha256": image["sha256"]}
    environment = {"POLIS_DRIVER": "multipass", "POLIS_IMAGE": json.dumps(plain)}
    return User(tmp_path_factory.mktemp("home"), user.config, {**user.environment, **environment})


def others(fake: Fake) -> dict[str, str]:
    return {name: state for name, state in fake.states().items() if name != "polis"}


UNTOUCHED = {"theirs": "Stopped", "polis-deleted": "Deleted"}


@pytest.mark.parametrize(("name", "hint"), [("theirs", "-n"), ("polis-deleted", "multipass recover polis-deleted")])
def test_an_instance_of_somebody_else_is_refused_and_untouched(fake: Fake, someone: User, name: str, hint: str) -> None:
    result = someone.type("-n", name, "up")
    assert result.code == 4, result.stderr
    assert name in result.stderr
    assert hint in result.stderr
    assert others(fake) == UNTOUCHED
    assert someone.type("-n", name, "delete", "-y").code == 4
    assert others(fake) == UNTOUCHED


def test_a_daemon_that_is_down_for_a_while_is_waited_for_and_one_that_stays_down_is_told(
    fake: Fake, someone: User
) -> None:
    fake.order("daemon-down")
    result = someone.type("status")
    assert result.code == 75
    assert "cannot connect to the multipass socket" in result.stderr
    assert "next: " in result.stderr
    fake.lift("daemon-down")
    fake.order("daemon-down", times=3)
    assert someone.status()["instance"] is None


def test_a_launch_that_timed_out_and_one_that_was_killed_are_joined_by_the_next(fake: Fake, someone: User) -> None:
    late = someone.type("up", "--json", POLIS_TIMEOUT="10")
    error = late.events[-1]["error"]
    assert late.code == 70, error
    assert "did not come up within" in error["message"]
    assert "may still come up" in error["remains"]
    with someone.begin("up") as up:
        up.wait_for("phase.progress", "launched")
        up.send(signal.SIGKILL)
    for process in psutil.process_iter(["cmdline"]):
        if "launch" in (process.info["cmdline"] or []) and "polis" in (process.info["cmdline"] or []):
            process.kill()  # the client, too
    result = someone.succeed("up", "--to", "launched", "--json")
    assert result.phases("phase.completed") == ["launched"]
    assert fake.states()["polis"] == "Running"
    assert len([argv for argv in fake.calls("launch") if "polis" in argv]) == 1
    assert someone.guest("cloud-init", "status").strip() == "status: done"


def test_the_guest_was_given_the_document_without_its_quotes_and_is_what_it_promises(fake: Fake, someone: User) -> None:
    sent = fake.guest("polis").user_data()
    assert "pollinate" in sent
    assert "# " not in sent.partition("\n")[2].partition("write_files")[0], "comments survived"
    assert [check for check in someone.status()["checks"] if not check["ok"] and check["name"] != "clock"] == []


def test_up_to_healthy(someone: User) -> None:
    result = someone.succeed("up", "--json")
    assert result.phases("phase.completed")[:3] == ["configured", "images-pulled", "running"]
    assert result.events[-1]["outcome"] == "healthy"
    assert someone.type("status", "--check").code == 0
    assert someone.status()["instance"]["ipv4"]
    assert someone.type("exec", "sh", "-c", "exit 4").code == 4
    assert someone.type("doctor").code in (0, 69)  # without hardware virtualization Multipass itself would not do


@pytest.mark.lasting
def test_stop_suspend_and_a_reboot_each_end_in_healthy_and_provision_nothing(fake: Fake, someone: User) -> None:
    booted = someone.guest("stat", "-c", "%Y", "/var/lib/polis/provisioned.json")
    boot = someone.boot_id()
    someone.succeed("stop")
    assert someone.status()["instance"]["state"] == "stopped"
    someone.succeed("up", "--to", "launched")
    assert someone.boot_id() != boot
    fake.multipass("suspend", "polis")
    assert someone.status()["instance"]["state"] == "suspended"
    someone.succeed("up", "--to", "launched")
    boot = someone.boot_id()
    someone.type("exec", "sudo", "systemctl", "reboot")
    file = "/proc/sys/kernel/random/boot_id"
    eventually(lambda: someone.type("exec", "cat", file).stdout.strip() not in ("", boot))
    someone.succeed("up")
    assert someone.boot_id() != boot
    assert someone.guest("stat", "-c", "%Y", "/var/lib/polis/provisioned.json") == booted
    assert len([argv for argv in fake.calls("launch") if "polis" in argv]) == 1


def test_delete_takes_its_own_instance_and_no_other(fake: Fake, someone: User) -> None:
    someone.succeed("delete", "--all", "-y")
    assert fake.states() == UNTOUCHED
    assert all("polis" in argv for argv in fake.calls("delete") if "--purge" in argv)
    assert fake.calls("purge") == []
    # What was refused above keeps its lock and its journal; of this workspace nothing is left.
    beside = {"cache", *UNTOUCHED}
    left = [path for path in Path(someone.home).rglob("*") if path.is_file() and not beside & set(path.parts)]
    assert left == []
