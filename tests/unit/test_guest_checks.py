"""The checks of the guest: what each looks at, and that a wrong value is told as expected, seen, reason and mend."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from polis.guest import checks
from polis.guest.remote import checks as remote
from polis.guest.report import CheckResult, CloudInit, GuestReport
from polis.phase import Phase

DPKG = """\
Package: docker-ce-cli
Status: install ok installed
Version: 5:27.5.1-1~ubuntu.24.04~noble

Package: docker-ce
Status: hold ok installed
Priority: optional
Version: 5:27.5.1-1~ubuntu.24.04~noble
Description: engine
 Package: not-a-field

Package: containerd.io
Status: deinstall ok config-files
Version: 1.7.27-1
"""


def look(what: dict[str, Any], *, info: dict[str, Any] | None = None, sent: float = 0.0) -> dict[str, Any]:
    (result,) = remote.run([{"name": "it", "look": what}], info or {}, sent)
    assert result["name"] == "it"
    return result


@pytest.fixture
def dpkg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "status"
    path.write_text(DPKG)
    monkeypatch.setattr(remote, "PACKAGES", path)


@pytest.mark.usefixtures("dpkg")
@pytest.mark.parametrize(
    ("package", "version", "ok", "seen"),
    [
        ("docker-ce", "5:27.5.1-1~ubuntu.24.04~noble", True, "5:27.5.1-1~ubuntu.24.04~noble"),
        ("docker-ce", "5:27.*", True, "5:27.5.1"),
        ("docker-ce", "5:28.*", False, "5:27.5.1"),
        ("docker-ce-cli", "5:27.5.1-1~ubuntu.24.04~noble", True, "5:27.5.1"),
        ("containerd.io", "1.7.*", False, "not installed"),
        ("docker", "*", False, "not installed"),
    ],
)
def test_packages(package: str, version: str, ok: bool, seen: str) -> None:
    result = look({"package": package, "version": version})
    assert result["ok"] is ok
    assert seen in result["actual"]
    assert package in result["expected"]


@pytest.mark.usefixtures("dpkg")
def test_packages_that_no_upgrade_may_replace() -> None:
    assert look({"held": ["docker-ce"]})["ok"] is True
    result = look({"held": ["docker-ce", "docker-ce-cli", "containerd.io"]})
    assert result["ok"] is False
    assert result["expected"] == "docker-ce, docker-ce-cli, containerd.io held"
    assert result["actual"] == "not held: docker-ce-cli, containerd.io"


def test_a_hold_that_was_lifted_is_mended_in_the_vm_and_covers_every_package_that_is_demanded() -> None:
    (check,) = [check for check in checks.catalogue() if "held" in check.look]
    assert check.mend == f"polis exec sudo apt-mark hold {' '.join(check.look['held'])}"
    demanded = {check.look["package"] for check in checks.catalogue() if "package" in check.look}
    assert set(check.look["held"]) == demanded


def test_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CGROUPS", (tmp_path,))
    assert look({"unit": "docker.service"})["ok"] is False
    events = tmp_path / "docker.service" / "cgroup.events"
    events.parent.mkdir()
    events.write_text("populated 0\nfrozen 0\n")
    assert look({"unit": "docker.service"})["ok"] is False
    events.write_text("populated 1\nfrozen 0\n")
    assert look({"unit": "docker.service"})["ok"] is True


def test_units_that_come_back_after_a_reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "UNITS", tmp_path)
    wants = tmp_path / "multi-user.target.wants"
    wants.mkdir()
    assert look({"enabled": "docker.service"})["actual"] == "not enabled"
    (wants / "docker.service").symlink_to("/usr/lib/systemd/system/docker.service")
    # A link to a file that is not on this machine must do: what counts is that systemd is told.
    assert look({"enabled": "docker.service"})["ok"] is True


def test_runtimes(tmp_path: Path) -> None:
    program = tmp_path / "sysbox-runc"
    info = {"Runtimes": {"runc": {"path": "runc"}, "sysbox-runc": {"path": str(program)}}}
    assert look({"runtime": "sysbox-runc"}, info={})["actual"] == "not registered"
    assert "cannot be executed" in look({"runtime": "sysbox-runc"}, info=info)["actual"]
    program.touch(mode=0o755)
    assert look({"runtime": "sysbox-runc"}, info=info)["ok"] is True


def test_what_the_engine_says() -> None:
    info = {"SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin"], "LiveRestoreEnabled": True}
    assert look({"engine": "SecurityOptions", "contains": "name=seccomp"}, info=info)["ok"] is True
    missing = look({"engine": "SecurityOptions", "contains": "name=no-new-privileges"}, info=info)
    assert missing["ok"] is False
    assert missing["actual"] == "name=apparmor, name=seccomp"
    assert look({"engine": "LiveRestoreEnabled", "equals": False}, info=info)["actual"] == "true"
    assert look({"engine": "LiveRestoreEnabled", "equals": False})["actual"] == "the engine does not answer"


def test_json_and_text_files(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    wanted = {"json": str(path), "key": "userland-proxy", "equals": False}
    assert "FileNotFoundError" in look(wanted)["actual"]
    path.write_text("{broken")
    assert look(wanted)["ok"] is False
    path.write_text('{"userland-proxy": false}')
    assert look(wanted)["ok"] is True
    path.write_text("2\n")
    assert look({"text": str(path), "equals": "2"})["ok"] is True
    assert look({"text": str(path), "equals": "0"})["actual"] == "2"


@pytest.mark.processes
@pytest.mark.parametrize(
    "listed",
    [
        "-w /usr/bin/docker -p x -k docker\n-w /etc/docker -p wa -k docker\n",
        """\
-a always,exit -F arch=b64 -S all -F path=/usr/bin/docker -F perm=x -F key=docker
-a always,exit -F arch=b64 -S all -F dir=/etc/docker -F perm=wa -F key=docker
""",
    ],
    ids=["audit 3", "audit 4"],
)
def test_audit_rules_in_both_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str) -> None:
    program = tmp_path / "auditctl"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{listed}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert look({"audit": ["/usr/bin/docker", "/etc/docker"]})["ok"] is True
    missing = look({"audit": ["/usr/bin/docker", "/run/docker.sock"]})
    assert missing["actual"] == "none for /run/docker.sock"


def test_passwords(tmp_path: Path) -> None:
    path = tmp_path / "shadow"
    path.write_text("root:!*:1::::::\nubuntu:!:1::::::\ndaemon:*:1::::::\n")
    assert look({"locked": str(path)})["ok"] is True
    path.write_text("root:!:1::::::\neve:$6$x$y:1::::::\nempty::1::::::\n")
    assert look({"locked": str(path)})["actual"] == "usable passwords: eve, empty"


def test_modes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)
    owner = path.owner()
    assert look({"file": str(path), "mode": "0640", "owner": owner})["ok"] is True
    path.chmod(0o640 | stat.S_IWOTH)
    assert look({"file": str(path), "mode": "0640", "owner": owner})["actual"] == f"0642 {owner}"


HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt\n"
TCP = (
    "   0: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
    "   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n"
    "   2: 0F02000A:0016 0202000A:C350 01 00000000:00000000 00:00000000 00000000\n"
)
TCP6 = (
    "   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0\n"
    "   1: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0\n"
    "   2: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 0\n"
)


def test_listening_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = (tmp_path / "tcp", tmp_path / "tcp6")
    monkeypatch.setattr(remote, "SOCKETS", tables)
    tables[0].write_text(HEAD + TCP)
    tables[1].write_text(HEAD + TCP6)
    assert look({"listening": [22]})["ok"] is True
    tables[1].write_text(HEAD + TCP6 + "   3: 0000000000000000FFFF00000F02000A:0050 0:0 0A 0\n")
    assert look({"listening": [22]})["actual"] == "also 80"
    assert look({"listening": []})["actual"] == "also 22, 80"


def test_the_clock() -> None:
    now = time.time()
    assert look({"clock": 180}, sent=now - 100)["ok"] is True
    for off in (-3600, 3600):
        result = look({"clock": 180}, sent=now + off)
        assert result["ok"] is False
        assert result["actual"].startswith("-" if off > 0 else "+")


def test_disk_space(tmp_path: Path) -> None:
    assert look({"disk": str(tmp_path), "free": 1})["ok"] is True
    result = look({"disk": str(tmp_path), "free": 1 << 60})
    assert result["ok"] is False
    assert result["actual"].endswith(" MiB")


def test_every_check_is_complete_and_of_a_kind_that_the_guest_knows() -> None:
    catalogue = checks.catalogue()
    assert len({check.name for check in catalogue}) == len(catalogue) > 25
    for check in catalogue:
        assert next(iter(check.look)) in remote.KINDS
        assert check.reason
        assert check.mend
        assert check.phase in (Phase.LAUNCHED, Phase.HEALTHY)
    assert {next(iter(check.look)) for check in catalogue} == set(remote.KINDS), "a kind that nothing asks for"


def passing() -> dict[str, CheckResult]:
    return {check.name: CheckResult(name=check.name, ok=True) for check in checks.catalogue()}


def report(results: dict[str, CheckResult], *, shared_kernel: bool = False) -> GuestReport:
    return GuestReport(
        boot_id="1",
        cloud_init=CloudInit(finished=True),
        checks=tuple(results.values()),
        shared_kernel=shared_kernel,
    )


def test_a_check_that_failed_tells_what_was_expected_seen_why_and_what_mends_it() -> None:
    results = {**passing(), "aslr": CheckResult(name="aslr", ok=False, expected="2", actual="0")}
    (failure,) = checks.failures(report(results), Phase.LAUNCHED)
    assert failure.advice == (
        "aslr: expected 2, saw 0 (addresses must not be predictable; mend: polis exec sudo sysctl --system)"
    )
    assert checks.failures(report(results), Phase.HEALTHY) == []


def test_a_check_that_the_guest_is_silent_about_failed() -> None:
    results = passing()
    del results["clock"]
    (failure,) = checks.failures(report(results), Phase.HEALTHY)
    assert failure.check.name == "clock"
    assert checks.failures(report({}), Phase.LAUNCHED)


OF_THE_KERNEL = {
    "apparmor",
    "apparmor-in-docker",
    "aslr",
    "audit-rules",
    "dmesg-restricted",
    "kernel-pointers-hidden",
    "no-core-dumps-of-privileged-programs",
    "ptrace-restricted",
}


def test_a_container_is_excused_what_only_its_servers_kernel_could_give_and_a_vm_nothing() -> None:
    results = {name: CheckResult(name=name, ok=False, expected="2", actual="0") for name in passing()}
    launched = {check.name for check in checks.catalogue() if check.phase is Phase.LAUNCHED}
    vm, container = report(results), report(results, shared_kernel=True)
    assert {failure.check.name for failure in checks.failures(vm, Phase.LAUNCHED)} == launched
    assert checks.inapplicable(vm) == []
    assert {failure.check.name for failure in checks.failures(container, Phase.LAUNCHED)} == launched - OF_THE_KERNEL
    excused = checks.inapplicable(container)
    assert {failure.check.name for failure in excused} == OF_THE_KERNEL
    assert all("its server's kernel: expected 2, saw 0 (" in failure.detail for failure in excused)
    assert not any("mend" in failure.detail for failure in excused)


def test_what_a_container_has_all_the_same_passed_and_silence_is_no_excuse() -> None:
    results = passing()
    assert checks.inapplicable(report(results, shared_kernel=True)) == []
    del results["aslr"]
    silent = report(results, shared_kernel=True)
    assert [failure.check.name for failure in checks.failures(silent, Phase.LAUNCHED)] == ["aslr"]


def test_units_of_a_container_on_a_server_with_the_older_hierarchy_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "CGROUPS", (tmp_path / "none", tmp_path))
    events = tmp_path / "docker.service" / "cgroup.events"
    events.parent.mkdir()
    events.write_text("populated 1\nfrozen 0\n")
    assert look({"unit": "docker.service"})["ok"] is True
