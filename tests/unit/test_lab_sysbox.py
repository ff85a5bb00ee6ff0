"""The stand-in for Sysbox: the bytes whose sum the lab's configuration states, in the shape of the real package."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lab import sysbox

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from lab import sysbox; sys.stdout.buffer.write(sysbox.build())"


@pytest.mark.processes
def test_its_bytes_are_the_same_wherever_and_whenever_it_is_built(tmp_path: Path) -> None:
    built = []
    for seed in ("1", "2"):
        directory = tmp_path / seed
        directory.mkdir()
        environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed, "TZ": f"UTC{seed}"}
        umask = 0o077 if seed == "2" else 0o022
        done = subprocess.run(
            [sys.executable, "-c", BUILD], cwd=directory, env=environment, umask=umask, check=True, capture_output=True
        )
        built.append(done.stdout)
    assert built[0] == built[1]
    assert hashlib.sha256(built[0]).hexdigest() == sysbox.SHA256


def test_its_sum_and_name_are_what_the_labs_configuration_states() -> None:
    told = yaml.safe_load((ROOT / "lab/polis.yaml").read_text())["mirrors"]["sysbox"]
    assert told["sha256"] == sysbox.SHA256 == hashlib.sha256(sysbox.build()).hexdigest()
    assert [place.rpartition("/")[2] for place in told["places"]] == [sysbox.NAME]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / sysbox.NAME
    path.write_bytes(sysbox.build())
    return path


@pytest.mark.processes
def test_it_has_the_name_version_and_shape_of_the_real_one(package: Path, tmp_path: Path) -> None:
    fields = ["dpkg-deb", "--show", "--showformat", "${Package} ${Version} ${Architecture}", str(package)]
    assert subprocess.check_output(fields, text=True) == "sysbox-ce 0.6.7-0.linux amd64"
    assert sysbox.NAME == "sysbox-ce_0.6.7-0.linux_amd64.deb"
    subprocess.run(["dpkg-deb", "--extract", str(package), str(tmp_path / "files")], check=True)
    programs, units = tmp_path / "files/usr/bin", tmp_path / "files/usr/lib/systemd/system"
    assert (programs / "sysbox-runc").readlink() == Path("/usr/sbin/runc")
    for name in ("sysbox-mgr", "sysbox-fs"):
        assert os.access(programs / name, os.X_OK)
        assert f"ExecStart=/usr/bin/{name}\n" in (units / f"{name}.service").read_text()
    assert "Requires=sysbox-mgr.service sysbox-fs.service\n" in (units / "sysbox.service").read_text()


class Scripts:
    """The package's maintainer scripts, run with a systemctl that only takes notes."""

    def __init__(self, package: Path, directory: Path) -> None:
        self._directory = directory
        subprocess.run(["dpkg-deb", "--control", str(package), str(directory / "control")], check=True)
        (directory / "bin").mkdir()
        systemctl = directory / "bin/systemctl"
        # It cannot stop what was never installed: Docker is not there when Sysbox comes first.
        systemctl.write_text('#!/bin/sh\necho "$@" >>"$NOTES"\ncase $* in *stop*) exit 5 ;; esac\n')
        systemctl.chmod(0o755)

    def run(self, name: str, *words: str) -> list[str]:
        """Return what systemctl was asked to do."""
        notes = self._directory / "notes"
        notes.write_text("")
        environment = {"PATH": f"{self._directory}/bin:{os.defpath}", "NOTES": str(notes)}
        subprocess.run([self._directory / "control" / name, *words], env=environment, check=True)
        return [line.removeprefix("--quiet ") for line in notes.read_text().splitlines()]


@pytest.mark.processes
def test_its_installation_stops_docker_and_starts_its_own_daemons(package: Path, tmp_path: Path) -> None:
    assert Scripts(package, tmp_path).run("postinst", "configure", "") == [
        "stop docker.socket docker.service",
        "daemon-reload",
        "enable --now sysbox.service",
    ]


@pytest.mark.processes
def test_its_scripts_do_nothing_where_nothing_is_installed_or_removed(package: Path, tmp_path: Path) -> None:
    scripts = Scripts(package, tmp_path)
    assert scripts.run("postinst", "abort-upgrade") == []
    assert scripts.run("prerm", "upgrade") == []
    assert scripts.run("prerm", "remove") == ["disable --now sysbox.service sysbox-mgr.service sysbox-fs.service"]
