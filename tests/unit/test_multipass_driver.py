"""The driver against the fake program (tests/fakes/multipass): what goes wrong in the field, and what is made of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polis.drivers.base import Artifact, Forward, Image, InstanceState, LaunchRequest
from polis.drivers.multipass import host as hosts
from polis.drivers.multipass import userdata
from polis.drivers.multipass.client import Client
from polis.drivers.multipass.driver import MultipassDriver
from polis.drivers.multipass.patience import Patience
from polis.errors import (
    ConfigurationError,
    DriverUnavailable,
    ExecTimeout,
    ExitCode,
    ForeignInstance,
    GuestCommandFailed,
    GuestUnreachable,
    HostUnsuitable,
    InstanceMissing,
    IntegrityError,
    LaunchFailed,
    PolisError,
)
from polis.waiting import wait_until
from tests.fakes.multipass.install import Fake, InProcess, installed

pytestmark = pytest.mark.processes

GIBIBYTE = 1024**3
LINUX = hosts.Host("linux")
QUICK = Patience(
    call=5.0,
    glance=0.05,
    daemon=2.0,
    look=0.01,
    lost=0.1,
    answer=5.0,
    grace=5.0,
    shutdown=0.3,
    blocked=5.0,
    preparing=5.0,
    refresh=5.0,
)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Fake]:
    with installed(tmp_path / "fake") as made:
        yield made


@pytest.fixture
def driver() -> MultipassDriver:
    """Return a driver that calls the fake in this process."""
    return calling_here(QUICK)


def calling_here(patience: Patience, host: hosts.Host = LINUX) -> MultipassDriver:
    return MultipassDriver(patience=patience, client=Client(host, run=InProcess()))


@pytest.fixture
def real() -> MultipassDriver:
    """Return a driver that starts the program on PATH: for what is about limits, or about the caller's terminal."""
    return MultipassDriver(patience=QUICK)


def request(name: str = "polis", owner: str = "owner-1", timeout: float = 20.0) -> LaunchRequest:
    return LaunchRequest(
        name=name,
        owner=owner,
        image=Image(disk=Artifact("", ""), alias="24.04"),
        cpus=2,
        memory=GIBIBYTE,
        disk=8 * GIBIBYTE,
        user_data="#cloud-config\nusers: [default]\n",
        timeout=timeout,
    )


def make(fake: Fake, name: str = "polis", owner: str = "owner-1") -> None:
    """Make an instance as a launch of that owner does."""
    text = userdata.prepared(request().user_data, owner, system="linux")
    done = fake.call("launch", "--name", name, "--cloud-init", "-", "24.04", stdin=text)
    assert done.ok, done.stderr
    fake.forget_calls()


def run(driver: MultipassDriver, *argv: str, timeout: float = 10.0) -> tuple[int, str, str]:
    done = driver.exec(name="polis", argv=argv, timeout=timeout)
    return done.code, done.stdout, done.stderr


# ---- launch


def test_a_launch(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(prepare=0.1, boot=0.1)
    told: list[str] = []
    driver.launch(request=request(), on_progress=told.append)
    assert told == [
        "Multipass prepares the instance",
        "Multipass fetches and prepares the image",
        "waiting for the guest to answer",
    ]
    found = driver.find(name="polis")
    assert found is not None
    assert (found.state, found.owner, found.ipv4) == (InstanceState.RUNNING, None, ("10.234.65.179",))
    (call,) = fake.calls("launch")
    assert call[1:11] == "--name polis --cpus 2 --memory 1G --disk 8G --timeout 620".split()  # noqa: SIM905
    assert run(driver, "cat", userdata.STAMP)[1] == "polis workspace owner-1\n"


def test_a_launch_does_not_wait_for_cloud_init(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(cloud_init=60.0)
    driver.launch(request=request(timeout=10.0))


def killed_launch(after: Callable[[], bool]) -> None:
    """Begin a launch as another program would, and kill its client."""
    text = userdata.prepared(request().user_data, "owner-1", system="linux")
    argv = ["multipass", "launch", "--name", "polis", "--timeout", "600", "--cloud-init", "-", "24.04"]
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert client.stdin is not None
    client.stdin.write(text.encode())
    client.stdin.close()
    assert wait_until(lambda _: after(), timeout=10, interval=0.005)
    client.send_signal(signal.SIGKILL)
    client.wait()


def test_a_launch_whose_client_was_killed_is_joined(fake: Fake) -> None:
    driver = calling_here(dataclasses.replace(QUICK, lost=30.0))
    fake.takes(prepare=0.5, boot=0.1)
    killed_launch(lambda: (fake.directory / "instances.json").exists() and "polis" in state_file(fake))
    told: list[str] = []
    driver.launch(request=request(), on_progress=told.append)
    assert any("is being prepared" in line for line in told)
    assert list(fake.states()) == ["polis"]
    boot_ids = {fake.guest("polis").boot_id()}
    driver.launch(request=request())
    assert {fake.guest("polis").boot_id()} == boot_ids
    assert not fake.calls("delete", "stop", "purge")


def state_file(fake: Fake) -> str:
    return (fake.directory / "instances.json").read_text()


def test_a_launch_killed_while_the_image_is_fetched_is_undone_and_made_anew(
    fake: Fake, driver: MultipassDriver
) -> None:
    fake.takes(download=60.0)
    killed_launch(lambda: (fake.directory / "instances.json").exists() and "polis" in state_file(fake))
    fake.takes(download=0.0)
    driver.launch(request=request())
    assert fake.states() == {"polis": "Running"}


def test_a_client_that_timed_out_while_the_vm_comes_up_later(fake: Fake, driver: MultipassDriver) -> None:
    """Exit code 5 is nothing to give up for: the instance is looked at."""
    fake.takes(prepare=0.2, boot=0.1)
    text = userdata.prepared(request().user_data, "owner-1", system="linux")
    argv = ("launch", "--name", "polis", "--timeout", "0.15", "--cloud-init", "-", "24.04")
    done = fake.call(*argv, stdin=text)
    assert (done.code, done.stderr.splitlines()[-1]) == (5, "Timed out waiting for instance launch.")
    driver.launch(request=request())
    assert fake.states() == {"polis": "Running"}
    assert not fake.calls("delete", "stop")


@pytest.mark.parametrize("fault", ["client-timeout", "being-prepared", "remote-unknown", "unreachable-mid-launch"])
def test_a_launch_that_fails_for_a_moment_is_tried_again(
    fake: Fake, driver: MultipassDriver, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polis.retry.Backoff.delay", lambda *_: 0.0)
    fake.order(fault, 1)
    driver.launch(request=request())
    first, *_, last = fake.calls("launch")
    assert fake.states() == {"polis": "Running"}
    assert len(fake.calls("launch")) == 2
    if fault != "being-prepared":  # which is no attempt
        assert (first[-1], last[-1]) == ("24.04", "release:24.04")
        assert fake.calls("find") == [["find", "--force-update"]]


@pytest.mark.parametrize(
    ("fault", "error", "code"),
    [
        ("no-kvm", HostUnsuitable, ExitCode.HOST),
        ("host-disk-full", HostUnsuitable, ExitCode.HOST),
        ("no-image", ConfigurationError, ExitCode.CONFIGURATION),
        ("no-memory", HostUnsuitable, ExitCode.HOST),
    ],
)
def test_a_launch_that_cannot_be(
    fake: Fake, driver: MultipassDriver, fault: str, error: type[PolisError], code: ExitCode
) -> None:
    fake.order(fault)
    with pytest.raises(error, match="polis cannot be created") as caught:
        driver.launch(request=request())
    assert caught.value.exit_code == code
    assert len(fake.calls("launch")) == 1


def test_a_failure_that_does_not_pass_is_told_with_its_words(
    fake: Fake, driver: MultipassDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polis.retry.Backoff.delay", lambda *_: 0.0)
    fake.order("hash-mismatch")
    with pytest.raises(IntegrityError) as caught:
        driver.launch(request=request())
    assert "hash does not match" in caught.value.cause
    assert "find --force-update" in caught.value.hint
    assert len(fake.calls("launch")) == 5


def test_what_does_not_come_up_in_time_is_kept(fake: Fake) -> None:
    fake.takes(boot=60.0)
    fake.call("launch", "--name", "polis", "--timeout", "0.05", "24.04")
    with pytest.raises(LaunchFailed) as caught:
        calling_here(dataclasses.replace(QUICK, lost=30.0)).start(name="polis", timeout=0.2)
    assert "kept" in caught.value.remains
    assert fake.states() == {"polis": "Unknown"}
    assert not fake.calls("delete", "stop")


# ---- whose is it


def test_a_foreign_instance_is_refused_and_stays_as_it_is(fake: Fake, driver: MultipassDriver) -> None:
    make(fake, owner="somebody-else")
    before = fake.guest("polis").boot_id()
    with pytest.raises(ForeignInstance, match="another workspace") as caught:
        driver.launch(request=request())
    assert caught.value.exit_code == ExitCode.NOT_FOUND
    assert fake.states() == {"polis": "Running"}
    assert fake.guest("polis").boot_id() == before
    assert not fake.calls("delete", "stop", "launch", "transfer")


def test_a_foreign_instance_that_is_off_is_off_afterwards(fake: Fake, driver: MultipassDriver) -> None:
    make(fake, owner="somebody-else")
    fake.call("stop", "polis")
    with pytest.raises(ForeignInstance, match="another workspace"):
        driver.launch(request=request())
    assert fake.states() == {"polis": "Stopped"}


def test_an_instance_that_turned_up_behind_our_back_must_carry_our_stamp(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(prepare=0.5)
    other = subprocess.Popen(["multipass", "launch", "--name", "polis", "24.04"], stdin=subprocess.DEVNULL)
    assert wait_until(
        lambda _: (fake.directory / "instances.json").exists() and "polis" in state_file(fake),
        timeout=10,
        interval=0.005,
    )
    with pytest.raises(ForeignInstance, match="is not ours"):
        driver.launch(request=request())
    other.wait()
    assert fake.states() == {"polis": "Running"}


def test_a_soft_deleted_namesake_is_refused_and_kept(fake: Fake, driver: MultipassDriver) -> None:
    make(fake, owner="somebody-else")
    fake.call("delete", "polis")
    fake.forget_calls()
    with pytest.raises(ForeignInstance, match="a deleted instance keeps the name") as caught:
        driver.launch(request=request())
    assert "multipass recover polis" in caught.value.hint
    for attempt in (
        lambda: driver.exec(name="polis", argv=["true"], timeout=5),
        lambda: driver.start(name="polis", timeout=5),
    ):
        with pytest.raises(InstanceMissing):
            attempt()
    driver.stop(name="polis")
    assert fake.states() == {"polis": "Deleted"}
    assert {call[0] for call in fake.calls()} == {"list", "version"}


def test_delete_takes_this_instance_and_no_other(fake: Fake, driver: MultipassDriver) -> None:
    for name in ("polis", "running", "gone"):
        make(fake, name)
    fake.call("delete", "gone")
    fake.forget_calls()
    driver.delete(name="polis")
    assert fake.states() == {"running": "Running", "gone": "Deleted"}
    driver.delete(name="polis")
    assert fake.calls("delete") == [["delete", "--purge", "polis"]]
    assert not fake.calls("purge")


def test_delete_waits_for_what_an_earlier_launch_still_prepares(fake: Fake, driver: MultipassDriver) -> None:
    fake.takes(prepare=0.3, boot=60.0)
    killed_launch(lambda: (fake.directory / "instances.json").exists() and "polis" in state_file(fake))
    assert driver.find(name="polis") is None
    driver.delete(name="polis")
    assert "polis" not in state_file(fake)


# ---- lost, suspended, about to go off


def test_an_instance_that_multipass_lost_is_stopped_and_started_never_deleted(
    fake: Fake, driver: MultipassDriver
) -> None:
    fake.takes(boot=0.2)
    assert fake.call("launch", "--name", "polis", "--timeout", "0.05", "24.04").code == 5
    assert wait_until(lambda _: fake.guest("polis").answers_since(), timeout=5)
    assert fake.states() == {"polis": "Unknown"}
    told: list[str] = []
    fake.forget_calls()
    driver.launch(request=request(), on_progress=told.append)
    assert fake.states() == {"polis": "Running"}
    assert [call[0] for call in fake.calls() if call[0] not in ("list", "version", "exec")] == ["stop", "start"]
    assert any("lost sight of it" in line for line in told)


def test_a_state_that_flaps_while_booting_is_no_reason_to_do_anything(fake: Fake) -> None:
    fake.order("flapping")
    fake.takes(boot=0.4)
    calling_here(dataclasses.replace(QUICK, lost=30.0)).launch(request=request())
    assert not fake.calls("stop", "start", "delete")
    assert len(fake.calls("launch")) == 1


def test_a_suspended_instance_is_woken(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    before = fake.guest("polis").boot_id()
    fake.call("suspend", "polis")
    with pytest.raises(GuestUnreachable):
        run(driver, "true")
    assert fake.states() == {"polis": "Suspended"}
    driver.start(name="polis", timeout=5.0)
    assert run(driver, "true")[0] == 0
    assert fake.guest("polis").boot_id() == before


def test_a_suspended_instance_is_woken_to_be_stopped_in_order(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    fake.call("suspend", "polis")
    fake.forget_calls()
    driver.stop(name="polis", timeout=5.0)
    assert fake.states() == {"polis": "Stopped"}
    assert [call[0] for call in fake.calls("start", "stop")] == ["start", "stop"]
    assert not [call for call in fake.calls("stop") if "--force" in call]


def test_a_scheduled_shutdown_is_called_off(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    fake.call("stop", "--time", "1", "polis")
    assert fake.states() == {"polis": "Delayed Shutdown"}
    with pytest.raises(GuestUnreachable, match="does not run commands"):
        run(driver, "true")
    driver.start(name="polis", timeout=5.0)
    assert fake.states() == {"polis": "Running"}
    assert run(driver, "true")[0] == 0


def test_a_stop_that_blocks_ends_with_the_plug(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    fake.order("deaf")
    fake.takes(deaf=0.3)
    driver.stop(name="polis", timeout=10.0)
    assert fake.states() == {"polis": "Stopped"}
    assert fake.calls("stop") == [["stop", "polis"], ["stop", "--force", "polis"]]


def test_a_stop_that_outlives_its_limit_ends_with_the_plug_too(fake: Fake, real: MultipassDriver) -> None:
    make(fake)
    fake.order("deaf")
    fake.takes(deaf=0.5)
    real.stop(name="polis", timeout=0.2)
    assert fake.states() == {"polis": "Stopped"}


def test_stopping_what_is_off_or_missing(fake: Fake, driver: MultipassDriver) -> None:
    driver.stop(name="polis")
    make(fake)
    driver.stop(name="polis")
    driver.stop(name="polis")
    assert len(fake.calls("stop")) == 1


# ---- guest commands


def test_exit_codes_are_the_command_s_own(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    script = 'echo run >> ~/runs; echo out; echo err >&2; exit "$1"'
    for code in (0, 1, 2, 4, 5, 255):
        assert run(driver, "sh", "-c", script, "sh", str(code)) == (code, "out\n", "err\n")
    assert run(driver, "sh", "-c", "wc -l < ~/runs")[1] == "6\n", "none was run twice"


def test_the_fake_has_the_trap_that_this_avoids(fake: Fake) -> None:
    make(fake)
    with pytest.raises(subprocess.TimeoutExpired):
        fake.multipass("exec", "-n", "polis", "--", "sh", "-c", "echo x >> ~/runs; exit 4", timeout=0.5)
    assert fake.call("exec", "polis", "--", "sh", "-c", "wc -l < ~/runs").stdout.strip() > "1"


def test_a_command_never_switches_an_instance_on(fake: Fake, driver: MultipassDriver, tmp_path: Path) -> None:
    make(fake)
    fake.call("stop", "polis")
    fake.forget_calls()
    (tmp_path / "f").touch()
    for attempt in (
        lambda: driver.exec(name="polis", argv=["true"], timeout=5),
        lambda: driver.push(name="polis", source=tmp_path / "f", target="/tmp/f"),  # noqa: S108 -- in the guest
        lambda: driver.pull(name="polis", source="/tmp/f", target=tmp_path / "g"),  # noqa: S108 -- in the guest
        lambda: driver.shell(name="polis"),
    ):
        with pytest.raises(GuestUnreachable):
            attempt()
    assert fake.states() == {"polis": "Stopped"}
    assert {call[0] for call in fake.calls()} == {"list"}
    assert fake.call("exec", "-n", "polis", "--", "true").stdout.startswith("\x1b[2K"), "which exec itself does"
    assert fake.states() == {"polis": "Running"}


def test_a_restarted_daemon_s_stopped_instance_is_not_switched_on_by_a_second_attempt(
    fake: Fake, driver: MultipassDriver
) -> None:
    make(fake)
    fake.order("ssh-dropped", 1)
    original, looks = driver._look, iter([True, False])

    def look(name: str) -> object:
        if not next(looks):
            fake.call("stop", "polis")
        return original(name)

    driver._look = look  # type: ignore[method-assign,assignment]
    with pytest.raises(GuestUnreachable, match="is not on"):
        run(driver, "true")
    assert fake.states() == {"polis": "Stopped"}


@pytest.mark.parametrize("fault", ["ssh-dropped", "ssh-channel"])
def test_a_dropped_connection_is_tried_again(fake: Fake, driver: MultipassDriver, fault: str) -> None:
    make(fake)
    fake.order(fault, 2)
    assert run(driver, "echo", "x") == (0, "x\n", "")


@pytest.mark.parametrize("fault", ["ssh-broken", "ssh-refused", "no-route", "ssh-denied", "no-credentials"])
def test_a_guest_that_cannot_be_reached(fake: Fake, driver: MultipassDriver, fault: str) -> None:
    make(fake)
    fake.order(fault)
    with pytest.raises(GuestUnreachable) as caught:
        run(driver, "true")
    assert caught.value.cause
    assert len(fake.calls("exec")) == 1


def test_the_limit_ends_the_command_in_the_guest(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    with pytest.raises(ExecTimeout):
        run(driver, "sh", "-c", "sleep 4243 & sleep 4243", timeout=0.3)
    assert run(driver, "pgrep", "-f", "^sleep 4243")[0] == 1


def test_a_shell(fake: Fake, driver: MultipassDriver, capfd: pytest.CaptureFixture[str]) -> None:
    make(fake)
    for code in (4, 104):
        assert driver.shell(name="polis", argv=["sh", "-c", f"echo x; exit {code}"]) == code
    assert capfd.readouterr().out == "x\n" * 2
    assert run(driver, "sh", "-c", "ls -A /tmp")[1] == ""


# ---- files


def test_a_big_file_both_ways(fake: Fake, driver: MultipassDriver, tmp_path: Path) -> None:
    make(fake)
    source, back = tmp_path / "big", tmp_path / "back"
    source.write_bytes(os.urandom(1024) * 6 * 1024)  # 6 MiB: exec would drop all but two
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    target = "/home/ubuntu/big"
    driver.push(name="polis", source=source, target=target, mode=0o640)
    assert run(driver, "sha256sum", target)[1].split()[0] == sha256
    driver.pull(name="polis", source=target, target=back)
    assert hashlib.sha256(back.read_bytes()).hexdigest() == sha256
    assert run(driver, "sh", "-c", "stat -c %a ~/big; ls -A ~")[1] == "640\nbig\n"
    assert back.stat().st_mode & 0o777 == 0o600


def test_the_fake_cuts_stdin_and_nests(fake: Fake, tmp_path: Path) -> None:
    """The traps that the driver stays away from, so that nobody takes them out of the fake."""
    make(fake)
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3_000_000)
    with big.open("rb") as file:
        done = subprocess.run(
            ["multipass", "exec", "-n", "polis", "--", "wc", "-c"], stdin=file, capture_output=True, check=False
        )
    assert (done.returncode, done.stdout) == (0, b"2097152\n")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "f").touch()
    for _ in range(2):
        fake.call("transfer", "-r", str(tmp_path / "dir"), "polis:/tmp/d")
    assert fake.call("exec", "polis", "--", "sh", "-c", "cd /tmp/d && find . -type f | sort").stdout == (
        "./dir/f\n./f\n"
    )


def test_a_file_that_arrives_damaged_is_not_put_into_place(
    fake: Fake, driver: MultipassDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(fake)
    (tmp_path / "f").write_text("good")
    run(driver, "sh", "-c", "echo old > ~/f")
    monkeypatch.setattr("polis.drivers.multipass.transfer.digest", lambda _: "0" * 64)
    with pytest.raises(GuestUnreachable, match="cannot be written"):
        driver.push(name="polis", source=tmp_path / "f", target="/home/ubuntu/f")
    assert run(driver, "sh", "-c", "cat ~/f; ls -A ~")[1] == "old\nf\n"
    (tmp_path / "back").write_text("old")
    with pytest.raises(IntegrityError):
        driver.pull(name="polis", source="/home/ubuntu/f", target=tmp_path / "back")
    assert (tmp_path / "back").read_text() == "old"


def test_files_that_cannot_be(fake: Fake, driver: MultipassDriver, tmp_path: Path) -> None:
    make(fake)
    (tmp_path / "f").touch()
    with pytest.raises(GuestCommandFailed):
        driver.push(name="polis", source=tmp_path / "f", target="/etc/f")
    with pytest.raises(GuestCommandFailed):
        driver.pull(name="polis", source="/home/ubuntu/none", target=tmp_path / "g")
    with pytest.raises(ConfigurationError):
        driver.push(name="polis", source=tmp_path / "none", target="/home/ubuntu/f")
    assert not (tmp_path / "g").exists()
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["f"]


# ---- the daemon


def test_a_daemon_that_is_away_for_a_while(fake: Fake, driver: MultipassDriver, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    fake.order("daemon-down", 3)
    driver.launch(request=request())
    fake.order("daemon-down", 3)
    assert run(driver, "echo", "x") == (0, "x\n", "")
    fake.order("daemon-down", 3)
    driver.stop(name="polis")
    fake.order("daemon-down", 3)
    driver.start(name="polis", timeout=10.0)
    fake.order("daemon-down", 3)
    driver.delete(name="polis")
    assert fake.states() == {}


def test_a_daemon_that_stays_away(fake: Fake) -> None:
    driver = calling_here(dataclasses.replace(QUICK, daemon=0.05), hosts.Host("linux", snap=True))
    fake.order("daemon-down")
    for attempt in (
        lambda: driver.find(name="polis"),
        lambda: driver.launch(request=request()),
        lambda: driver.delete(name="polis"),
        lambda: driver.exec(name="polis", argv=["true"], timeout=5),
    ):
        with pytest.raises(DriverUnavailable) as caught:
            attempt()
        assert "sudo snap restart multipass" in caught.value.hint
    assert driver.diagnose(name="polis").lines[0].startswith("Multipass does not answer")


def test_a_call_that_hangs_is_ended_and_is_no_proof_of_absence(fake: Fake) -> None:
    driver = MultipassDriver(patience=dataclasses.replace(QUICK, call=0.2))
    fake.order("hangs-list")
    with pytest.raises(DriverUnavailable) as caught:
        driver.find(name="polis")
    assert "no answer to `multipass list`" in caught.value.cause


def test_a_client_that_is_not_let_in(fake: Fake, driver: MultipassDriver) -> None:
    fake.order("not-authenticated")
    with pytest.raises(HostUnsuitable) as caught:
        driver.find(name="polis")
    assert "multipass authenticate" in caught.value.hint


def test_what_it_tells_of_an_instance(fake: Fake, driver: MultipassDriver) -> None:
    assert driver.diagnose(name="polis").lines == ()
    make(fake)
    lines = driver.diagnose(name="polis").lines
    assert lines[0] == "Multipass 1.16.3, daemon 1.16.3"
    assert lines[1] == "polis: running, 10.234.65.179"


def test_forwards_are_refused_before_anything_is_made(fake: Fake, driver: MultipassDriver) -> None:
    with pytest.raises(HostUnsuitable, match="forwards no ports"):
        driver.launch(request=dataclasses.replace(request(), forwards=(Forward(8080, 80),)))
    assert not fake.calls()


def test_an_interrupted_launch_leaves_no_client_that_holds_polis_back(fake: Fake) -> None:
    """Ctrl-C ends polis at once; the next one joins."""
    fake.takes(boot=2.0)
    code = (
        "from tests.unit.test_multipass_driver import MultipassDriver, QUICK, request\n"
        "MultipassDriver(patience=QUICK).launch(request=request())\n"
    )
    root = Path(__file__).parents[2]
    polis = subprocess.Popen([sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL)
    assert wait_until(lambda _: fake.calls("launch"), timeout=20, interval=0.01)
    begun = time.monotonic()
    polis.send_signal(signal.SIGINT)
    polis.wait(10)
    assert time.monotonic() - begun < 1.5
