"""What every driver must do (polis/drivers/base.py). The tests share one machine and run in order."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from polis.drivers.base import Census, Driver, Forward, InstanceState, LaunchRequest
from polis.drivers.sshconfig import SshAccess
from polis.errors import (
    ExecTimeout,
    ForeignInstance,
    GuestCommandFailed,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    PolisError,
)
from polis.process import Completed
from polis.waiting import wait_until
from tests.contract.subjects import ROOT, Subject

pytestmark = [pytest.mark.e2e, pytest.mark.processes, pytest.mark.timeout(900)]

NAME = "contract"


def run(driver: Driver, *argv: str, timeout: float = 60.0) -> Completed:
    return driver.exec(name=NAME, argv=argv, timeout=timeout)


def boot_id(driver: Driver, name: str = NAME) -> str:
    done = driver.exec(name=name, argv=["cat", "/proc/sys/kernel/random/boot_id"], timeout=60)
    assert done.ok, done.stderr
    return done.stdout.strip()


def test_nothing_is_there_at_first(driver: Driver) -> None:
    assert driver.find(name="no-such") is None
    with pytest.raises(InstanceMissing):
        driver.exec(name="no-such", argv=["true"], timeout=10)
    with pytest.raises(InstanceMissing):
        driver.start(name="no-such", timeout=10)
    driver.stop(name="no-such")
    driver.delete(name="no-such")
    assert driver.diagnose(name="no-such").lines == ()


def test_a_launched_machine_is_running_and_knows_its_owner(driver: Driver, machine: LaunchRequest) -> None:
    found = driver.find(name=NAME)
    assert found is not None
    assert (found.driver, found.name, found.state) == (driver.name, NAME, InstanceState.RUNNING)
    assert found.owner in (machine.owner, None)
    assert isinstance(driver, Census), "a fleet's status asks once for all"
    one_of_all = driver.find_all()[NAME]
    assert (one_of_all.state, one_of_all.owner) == (found.state, found.owner)


def test_it_is_the_machine_that_was_asked_for(driver: Driver, machine: LaunchRequest) -> None:
    assert run(driver, "hostname").stdout.strip() == NAME
    assert run(driver, "whoami").stdout.strip() == machine.image.user
    assert run(driver, "nproc").stdout.strip() == str(machine.cpus)
    assert run(driver, "sudo", "-n", "cloud-init", "status", "--wait", timeout=300).code in (0, 2)
    assert run(driver, "cat", "/var/lib/contract").stdout == "from user data"
    size = int(run(driver, "df", "--output=size", "-B1", "/").stdout.split()[1])
    assert size > machine.disk * 0.8


@pytest.mark.parametrize("code", [0, 1, 2, 4, 124, 126, 127, 137, 255])
def test_exit_codes(driver: Driver, machine: LaunchRequest, code: int) -> None:
    assert run(driver, "sh", "-c", f"exit {code}").code == code


@pytest.mark.parametrize(("number", "code"), [("TERM", 143), ("KILL", 137), ("SEGV", 139)])
def test_signals(driver: Driver, machine: LaunchRequest, number: str, code: int) -> None:
    assert run(driver, "sh", "-c", f"kill -{number} $$").code == code


def test_commands_that_cannot_be_run(driver: Driver, machine: LaunchRequest) -> None:
    assert run(driver, "no-such-command").code == 127
    assert run(driver, "/etc/passwd").code == 126


def test_stdout_and_stderr_are_apart(driver: Driver, machine: LaunchRequest) -> None:
    done = run(driver, "sh", "-c", "echo out; echo err >&2; exit 255")
    assert (done.code, done.stdout, done.stderr) == (255, "out\n", "err\n")


def test_arguments_arrive_as_they_are(driver: Driver, machine: LaunchRequest) -> None:
    awkward = [
        "a b",
        "",
        "'",
        '"',
        "$HOME",
        "`id`",
        "*",
        "~",
        "\n",
        "a\nb",
        "\\",
        "ü€😀",
        ";",
        "&&",
        "-n",
        "--",
        "!x",
        "%s",
    ]
    done = run(driver, "printf", "%s\\0", *awkward)
    assert done.stdout.split("\0")[:-1] == awkward


def test_lines_are_told_while_the_command_runs(driver: Driver, machine: LaunchRequest) -> None:
    seen: list[tuple[str, float]] = []
    driver.exec(
        name=NAME,
        argv=["sh", "-c", "echo ä; sleep 3; echo two; printf three"],
        timeout=60,
        on_line=lambda line: seen.append((line, time.monotonic())),
    )
    assert [line for line, _ in seen] == ["ä", "two", "three"]
    assert seen[1][1] - seen[0][1] > 1.5


def test_there_is_no_stdin(driver: Driver, machine: LaunchRequest) -> None:
    assert run(driver, "cat", timeout=30).stdout == ""


def test_a_large_output(driver: Driver, machine: LaunchRequest) -> None:
    done = run(driver, "sh", "-c", "head -c 1048576 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' e >&2")
    assert (done.code, len(done.stdout), len(done.stderr)) == (0, 1024**2, 300_000)


def test_the_limit_ends_the_command_in_the_guest_too(driver: Driver, machine: LaunchRequest) -> None:
    with pytest.raises(ExecTimeout):
        run(driver, "sh", "-c", "echo begun; sleep 4242", timeout=3)
    assert run(driver, "pgrep", "-f", "^sleep 4242").code == 1


def test_a_child_left_in_the_background_does_not_hide_the_exit_code(driver: Driver, machine: LaunchRequest) -> None:
    assert run(driver, "sh", "-c", "setsid sleep 300 & exit 7", timeout=5).code == 7
    run(driver, "pkill", "-f", "^sleep 300")


def test_push_and_pull(driver: Driver, machine: LaunchRequest, big_file: Path, tmp_path: Path) -> None:
    target = "/var/tmp/a b'c"  # noqa: S108 -- in the guest
    sha256 = hashlib.sha256(big_file.read_bytes()).hexdigest()
    for mode in (0o640, 0o600):  # the second time it overwrites
        driver.push(name=NAME, source=big_file, target=target, mode=mode)
        assert run(driver, "sha256sum", target).stdout.lstrip("\\").split()[0] == sha256
        assert run(driver, "stat", "-c", "%a", target).stdout.strip() == f"{mode:o}"
    back = tmp_path / "back"
    back.write_text("old")
    driver.pull(name=NAME, source=target, target=back)
    assert hashlib.sha256(back.read_bytes()).hexdigest() == sha256
    assert run(driver, "sh", "-c", "ls -A /var/tmp | grep -c polis").stdout.strip() == "0"


def test_push_and_pull_that_cannot_be(driver: Driver, machine: LaunchRequest, big_file: Path, tmp_path: Path) -> None:
    for target in ("/no/such/directory/f", "/etc/f", "/var/tmp"):  # noqa: S108 -- in the guest
        with pytest.raises(GuestCommandFailed):
            driver.push(name=NAME, source=big_file, target=target)
    back = tmp_path / "back"
    back.write_text("old")
    with pytest.raises(GuestCommandFailed):
        driver.pull(name=NAME, source="/no/such/file", target=back)
    assert back.read_text() == "old"
    with pytest.raises(PolisError):
        driver.push(name=NAME, source=tmp_path / "none", target="/var/tmp/f")  # noqa: S108 -- in the guest


def test_an_empty_file(driver: Driver, machine: LaunchRequest, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    driver.push(name=NAME, source=tmp_path / "empty", target="/var/tmp/empty")  # noqa: S108 -- in the guest
    driver.pull(name=NAME, source="/var/tmp/empty", target=tmp_path / "back")  # noqa: S108 -- in the guest
    assert (tmp_path / "back").read_bytes() == b""


def test_a_shell_without_a_terminal(driver: Driver, machine: LaunchRequest, capfd: pytest.CaptureFixture[str]) -> None:
    assert driver.shell(name=NAME, argv=["sh", "-c", "echo $1; exit 5", "x", "a b"]) == 5
    assert capfd.readouterr().out == "a b\n"


def test_ssh_s_options_lead_to_the_guest(driver: Driver, machine: LaunchRequest, tmp_path: Path) -> None:
    with pytest.raises(InstanceMissing):
        driver.ssh_options(name="no-such")
    try:
        found = SshAccess("guest", driver.ssh_options(name=NAME))
    except HostUnsuitable:
        assert driver.name in ("multipass", "incus"), "one withholds its key from its user, the other has none"
        return
    assert Path(found.options["IdentityFile"]).stat().st_mode & 0o077 == 0
    (tmp_path / "config").write_text(found.text + "\n")
    ssh = ["ssh", "-F", str(tmp_path / "config"), "-o", "BatchMode=yes", "guest", "hostname; exit 3"]
    done = subprocess.run(ssh, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (3, f"{NAME}\n"), done.stderr


def test_launching_again_changes_nothing(driver: Driver, machine: LaunchRequest) -> None:
    before = boot_id(driver)
    driver.launch(request=machine)
    driver.start(name=NAME, timeout=60)
    assert boot_id(driver) == before


def test_another_owner_is_refused(driver: Driver, machine: LaunchRequest) -> None:
    before = boot_id(driver)
    with pytest.raises(ForeignInstance):
        driver.launch(request=dataclasses.replace(machine, owner="somebody-else"))
    assert boot_id(driver) == before


def test_a_reboot_inside_the_guest(driver: Driver, machine: LaunchRequest) -> None:
    before = boot_id(driver)
    with contextlib.suppress(GuestUnreachable, ExecTimeout):  # the connection may break before its end is told
        run(driver, "sudo", "-n", "systemctl", "reboot", timeout=30)

    def back(_: float) -> bool:
        try:
            return boot_id(driver) != before
        except (GuestUnreachable, ExecTimeout, AssertionError):
            return False

    assert wait_until(back, timeout=400, interval=2)
    found = driver.find(name=NAME)
    assert found is not None
    assert found.state is InstanceState.RUNNING


def test_stop_and_start(driver: Driver, machine: LaunchRequest) -> None:
    run(driver, "sh", "-c", "echo kept > ~/kept; sync")
    driver.stop(name=NAME)
    driver.stop(name=NAME)
    found = driver.find(name=NAME)
    assert found is not None
    assert found.state is InstanceState.STOPPED
    with pytest.raises(GuestUnreachable):
        run(driver, "true")
    with pytest.raises(GuestUnreachable):
        driver.ssh_options(name=NAME)
    driver.start(name=NAME, timeout=machine.timeout)
    assert run(driver, "sh", "-c", "cat ~/kept").stdout == "kept\n"


def test_a_crash_is_seen_at_once_and_recovered_from(driver: Driver, subject: Subject, machine: LaunchRequest) -> None:
    run(driver, "sh", "-c", "echo kept again > ~/kept; sync")
    subject.crash(NAME)
    found = wait_until(
        lambda _: (found := driver.find(name=NAME)) and found.state is InstanceState.STOPPED and found, timeout=2
    )
    assert found
    with pytest.raises(GuestUnreachable):
        run(driver, "true")
    driver.launch(request=machine)
    assert run(driver, "sh", "-c", "cat ~/kept").stdout == "kept again\n"


KILLED = """
import os, pickle, signal, sys, threading
subject, request, delay = pickle.loads(bytes.fromhex(sys.argv[1]))
threading.Timer(delay, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
subject.driver.launch(request=request)
"""


def launch_killed_after(delay: float, subject: Subject, request: LaunchRequest) -> None:
    data = pickle.dumps((subject, request, delay)).hex()
    child = subprocess.run([sys.executable, "-c", KILLED, data], cwd=ROOT, check=False, timeout=60)
    assert child.returncode == -signal.SIGKILL


def test_a_launch_killed_again_and_again_ends_with_one_machine(
    driver: Driver, subject: Subject, machine: LaunchRequest, beside: LaunchRequest
) -> None:
    before = boot_id(driver)
    for delay in subject.moments:
        launch_killed_after(delay, subject, beside)
        assert subject.machines("beside") <= 1
    driver.launch(request=beside)
    assert driver.exec(name="beside", argv=["hostname"], timeout=60).stdout == "beside\n"
    assert subject.machines("beside") == 1
    driver.delete(name="beside")
    assert driver.find(name="beside") is None
    assert subject.leftovers("beside") == []
    assert boot_id(driver) == before


def test_a_launch_that_was_killed_can_be_deleted(
    driver: Driver, subject: Subject, machine: LaunchRequest, beside: LaunchRequest
) -> None:
    launch_killed_after(subject.booting, subject, beside)
    driver.delete(name="beside")
    assert driver.find(name="beside") is None
    assert subject.leftovers("beside") == []


def test_a_port_in_use_is_told_before_anything_is_made(driver: Driver, subject: Subject, beside: LaunchRequest) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        # A driver that forwards none refuses any, which is to be told in the same way.
        with pytest.raises(PolisError) as caught:
            driver.launch(request=dataclasses.replace(beside, forwards=(Forward(port, 80),)))
        assert str(port) in f"{caught.value.message} {caught.value.cause}"
    assert driver.find(name="beside") is None


def test_delete_leaves_nothing(driver: Driver, subject: Subject, machine: LaunchRequest) -> None:
    driver.delete(name=NAME)
    driver.delete(name=NAME)
    assert driver.find(name=NAME) is None
    assert subject.leftovers(NAME) == []
    with pytest.raises(InstanceMissing):
        run(driver, "true")
