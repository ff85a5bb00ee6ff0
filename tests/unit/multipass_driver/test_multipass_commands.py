"""Guest commands: their exit codes, broken connections, and none that switches a VM on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from polis.drivers.multipass import access
from polis.drivers.multipass.driver import MultipassDriver
from polis.drivers.multipass.records import Listed
from polis.errors import ExecTimeout, GuestUnreachable, HostUnsuitable, InstanceMissing
from tests.fakes.multipass.install import Fake
from tests.unit.multipass_driver.driving import make, run

pytestmark = pytest.mark.processes


def test_exit_codes_are_the_command_s_own(fake: Fake, driver: MultipassDriver) -> None:
    make(fake)
    script = 'echo run >> ~/runs; echo out; echo err >&2; exit "$1"'
    for code in (0, 1, 2, 4, 5, 255):
        assert run(driver, "sh", "-c", script, "sh", str(code)) == (code, "out\n", "err\n")
    assert run(driver, "sh", "-c", "wc -l < ~/runs")[1] == "6\n", "none was run twice"


def test_the_fake_has_the_trap_that_this_avoids(fake: Fake) -> None:
    make(fake)
    for patience in (0.5, 2.0, 8.0, 32.0):  # a busy machine needs longer to do it twice
        fake.call("exec", "polis", "--", "sh", "-c", ": > ~/runs")
        with pytest.raises(subprocess.TimeoutExpired):
            fake.multipass("exec", "-n", "polis", "--", "sh", "-c", "echo x >> ~/runs; exit 4", timeout=patience)
        if int(fake.call("exec", "polis", "--", "sh", "-c", "wc -l < ~/runs").stdout) > 1:
            return
    pytest.fail("the command was run once")


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
    original, looks = driver._client.list, iter([True, False])

    def listed(*, limit: float) -> tuple[Listed, ...]:
        if not next(looks):
            fake.call("stop", "polis")
        return original(limit=limit)

    driver._client.list = listed  # type: ignore[method-assign]
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


def test_ssh_s_options_hold_what_the_guest_says_is_its_host_key(
    fake: Fake, driver: MultipassDriver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InstanceMissing):
        driver.ssh_options(name="polis")
    make(fake)
    with pytest.raises(HostUnsuitable):
        driver.ssh_options(name="polis")
    key = tmp_path / "id_rsa"
    key.touch()
    monkeypatch.setattr(access, "KEYS", {"linux": str(key)})
    monkeypatch.setattr(access, "SHOW_HOST_KEY", ["echo", "ssh-ed25519 AAAA root@polis"])
    options = driver.ssh_options(name="polis")
    seen = driver.find(name="polis")
    assert seen is not None
    assert (options["HostName"], options["IdentityFile"]) == (seen.ipv4[0], str(key))
    assert options["KnownHostsCommand"] == "/bin/echo polis-polis ssh-ed25519 AAAA"
    fake.call("stop", "polis")
    with pytest.raises(GuestUnreachable):
        driver.ssh_options(name="polis")
