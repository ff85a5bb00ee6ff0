"""Files to and from the guest: whole, checked, or not at all."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from polis.drivers.multipass.driver import MultipassDriver
from polis.errors import ConfigurationError, GuestCommandFailed, GuestUnreachable, IntegrityError
from tests.fakes.multipass.install import Fake
from tests.unit.multipass_driver.driving import make, run

pytestmark = pytest.mark.processes


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
    monkeypatch.setattr("polis.drivers.files.digest", lambda _: "0" * 64)
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
