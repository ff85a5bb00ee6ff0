"""The lab's Debian packages, as dpkg-deb reads them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lab import deb
from lab.deb import Entry
from lab.errors import LabError

CONTROL = {
    "Package": "lab-example",
    "Version": "5:1.2-3~noble",
    "Architecture": "amd64",
    "Maintainer": "Lab <lab@localhost>",
    "Depends": "runc, libc6 (>= 2.36)",
    "Description": "an example",
}
FILES = [
    Entry("/usr/share/example/data", bytes(range(256)) * 3),
    Entry("/usr/bin/example", b"#!/bin/sh\n", 0o755),
    Entry("/etc/example", b"odd"),
    Entry("/usr/bin/other", link="/usr/bin/example"),
]
SCRIPTS = {"postinst": "#!/bin/sh\nexit 0\n", "prerm": "#!/bin/sh\nexit 1\n"}
RIVALRY = {"Breaks", "Replaces"}


def dpkg_deb(*words: str | Path) -> str:
    done = subprocess.run(
        ["dpkg-deb", *words], check=True, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"}
    )
    return done.stdout


def contents(package: Path) -> list[tuple[str, str, str]]:
    """Return mode, owner and name of each file, in the order of the archive."""
    lines = [line.split(None, 5) for line in dpkg_deb("--contents", package).splitlines()]
    return [(line[0], line[1], line[5]) for line in lines]


@pytest.mark.processes
def test_dpkg_reads_what_was_built(tmp_path: Path) -> None:
    package = tmp_path / "example.deb"
    package.write_bytes(deb.build(CONTROL, files=FILES, scripts=SCRIPTS))
    assert dpkg_deb("--field", package) == "".join(f"{key}: {value}\n" for key, value in CONTROL.items())
    assert contents(package) == [
        ("drwxr-xr-x", "root/root", "./"),
        ("drwxr-xr-x", "root/root", "./etc/"),
        ("drwxr-xr-x", "root/root", "./usr/"),
        ("drwxr-xr-x", "root/root", "./usr/bin/"),
        ("drwxr-xr-x", "root/root", "./usr/share/"),
        ("drwxr-xr-x", "root/root", "./usr/share/example/"),
        ("-rw-r--r--", "root/root", "./etc/example"),
        ("-rwxr-xr-x", "root/root", "./usr/bin/example"),
        ("lrwxrwxrwx", "root/root", "./usr/bin/other -> /usr/bin/example"),
        ("-rw-r--r--", "root/root", "./usr/share/example/data"),
    ]
    assert "1970-01-01 00:00" in dpkg_deb("--contents", package)
    dpkg_deb("--extract", package, tmp_path / "files")
    assert (tmp_path / "files/usr/share/example/data").read_bytes() == FILES[0].data
    dpkg_deb("--control", package, tmp_path / "control")
    assert {path.name for path in (tmp_path / "control").iterdir()} == {"control", *SCRIPTS}
    for name, text in SCRIPTS.items():
        script = tmp_path / "control" / name
        assert (script.read_text(), script.stat().st_mode & 0o777) == (text, 0o755)


def test_the_same_input_in_another_order_gives_the_same_bytes() -> None:
    once = deb.build(CONTROL, files=FILES, scripts=SCRIPTS)
    assert deb.build(CONTROL, files=FILES[::-1], scripts=dict(reversed(SCRIPTS.items()))) == once
    assert deb.build(CONTROL | {"Version": "2"}, files=FILES, scripts=SCRIPTS) != once


def test_the_control_paragraph_comes_back() -> None:
    paragraph = deb.control_of(deb.build(CONTROL, files=FILES))
    assert paragraph == "".join(f"{key}: {value}\n" for key, value in CONTROL.items())


@pytest.fixture
def distributed(tmp_path: Path) -> Path:
    """Return a package as Debian's are: made by dpkg-deb, with xz, its fields over several lines."""
    tree = tmp_path / "tree"
    for name in ("usr/bin/example", "usr/share/doc/example/copyright", "usr/share/example/data"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "usr/bin/example").chmod(0o755)
    (tree / "usr/bin/link").symlink_to("example")
    os.link(tree / "usr/bin/example", tree / "usr/bin/twin")
    fields = {**CONTROL, "Breaks": "docker.io (<< 2),\n docker-ce", "Replaces": "docker-ce", "Section": "admin"}
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN/control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    (tree / "DEBIAN/postinst").write_text("#!/bin/sh\n")
    (tree / "DEBIAN/postinst").chmod(0o755)
    return tree


@pytest.mark.processes
def test_a_package_packed_anew_lacks_what_was_dropped_and_nothing_else(distributed: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old.deb", tmp_path / "new.deb"
    dpkg_deb("--root-owner-group", "-Zxz", "--build", distributed, old)
    new.write_bytes(
        deb.repack(old.read_bytes(), dropped=lambda path: path.startswith("/usr/share/doc/"), fields=RIVALRY)
    )
    kept = [entry for entry in contents(old) if not entry[2].endswith("copyright")]
    assert contents(new) == kept
    assert len(kept) == len(contents(old)) - 1
    assert "Breaks" in dpkg_deb("--field", old)
    assert dpkg_deb("--field", new).splitlines() == [
        *(f"{key}: {value}" for key, value in CONTROL.items()),
        "Section: admin",
    ]
    dpkg_deb("--extract", new, tmp_path / "files")
    assert (tmp_path / "files/usr/bin/twin").read_text() == "usr/bin/example"
    assert (tmp_path / "files/usr/share/example/data").read_text() == "usr/share/example/data"
    dpkg_deb("--control", new, tmp_path / "control")
    assert (tmp_path / "control/postinst").read_text() == "#!/bin/sh\n"


@pytest.mark.processes
def test_a_package_compressed_by_unknown_means_is_refused(distributed: Path, tmp_path: Path) -> None:
    dpkg_deb("-Zgzip", "--build", distributed, tmp_path / "gzip.deb")
    with pytest.raises(LabError, match=r"none of control.tar, .*control.tar.gz"):
        deb.repack((tmp_path / "gzip.deb").read_bytes())


def test_what_is_no_package_is_refused() -> None:
    for read in (deb.control_of, deb.repack):
        with pytest.raises(LabError, match="not a Debian package"):
            read(b"<html>404</html>")


def test_a_host_without_zstd_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(LabError, match="zstd is not installed"):
        deb.repack(deb.build(CONTROL))
