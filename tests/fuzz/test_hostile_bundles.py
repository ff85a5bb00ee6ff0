"""Whatever a bundle is made of: a Bundle, or a ConfigurationError; nothing is written, and memory is bounded."""

from __future__ import annotations

import gzip
import os
import sys
import tarfile
import tempfile
import tracemalloc
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polis.bundle import archive
from polis.bundle.archive import Bundle
from polis.errors import ConfigurationError
from tests.fuzz import refusals, tars
from tests.fuzz.damage import broken
from tests.fuzz.effort import examples
from tests.fuzz.tars import COMPOSE, GOOD, Item, tar

HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
SMALL = 1 << 20
"""Bytes of a whole bundle, while memory is measured."""


def load(path: Path) -> Bundle | ConfigurationError:
    """Load a bundle as `polis up` does, in a directory where nothing may change."""
    before = listing(path.parent)
    try:
        bundle = archive.load(path)
    except ConfigurationError as error:
        refusals.judge(error)
        return error
    finally:
        assert listing(path.parent) == before
    check(bundle)
    return bundle


def check(bundle: Bundle) -> None:
    """Check what is promised of the tar that is sent, whatever it was made from."""
    with tempfile.TemporaryFile() as file:
        file.write(bundle.content)
        file.seek(0)
        with tarfile.open(fileobj=file) as members:
            for member in members:
                assert member.isreg() or member.isdir() or member.issym()
                assert not member.name.startswith("/")
                assert ".." not in member.name.split("/")
                assert not HIDDEN & {unicodedata.category(char) for char in member.name + member.linkname}
                assert (member.uid, member.mtime, member.pax_headers) == (0, 0, {})
                tarfile.data_filter(member, "/nowhere")
    assert bundle.size == len(bundle.content) <= archive.MAX_TOTAL + archive.MAX_ENTRIES * 3 * 1024


def listing(directory: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (str(path), path.lstat().st_mtime_ns, path.lstat().st_size)
        for root in (directory, Path.cwd())
        for path in root.rglob("*")
    )


@examples(400)
@given(data=tars.archives() | broken(GOOD) | broken(gzip.compress(GOOD, mtime=0)) | st.binary(max_size=600))
@example(data=GOOD)
@example(data=tar([Item("../x"), Item(COMPOSE)]))
@example(data=tar([Item("x", pax={"path": "/x"}), Item(COMPOSE)]))
@example(data=tar([Item("x", size=-(2**40)), Item(COMPOSE)]))
@example(data=tar([Item("x", pax={"size": "-512"}), Item(COMPOSE)]))
@example(data=tar([Item("x", pax={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), Item(COMPOSE)]))
@example(data=tar([Item("x", pax={"GNU.sparse.map": ","}), Item(COMPOSE)]))
@example(data=tars.pax_header(tarfile.XHDTYPE, b"0 a=b\n") + tar([Item(COMPOSE)]))
@example(data=tars.pax_header(tarfile.XGLTYPE, tars.pax_record(b"path", b"../x")) + tar([Item(COMPOSE)]))
@example(data=tars.gnu_long_name(-1, b"") + tar([Item(COMPOSE)]))
def test_no_archive_is_a_traceback(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        path = Path(directory) / "bundle.tar"
        path.write_bytes(data)
        load(path)


odd_names = st.one_of(
    st.binary(min_size=1, max_size=20),
    st.sampled_from(
        [b"\xff", b"a\nb", b"\x1b[2J", b"-rf", b"..a", b"C:", b"a\\b", b".env", b"x" * 255, "\u202e".encode()]
    ),
    st.sampled_from([COMPOSE.encode(), b"a", b"A", "é".encode(), "e\u0301".encode(), b".git", b".polis", b" ", b"~"]),
).map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")[:255])


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only there")
@examples(80)
@given(names=st.lists(st.tuples(odd_names, st.sampled_from(["file", "directory", "link", "fifo"])), max_size=5))
@example(names=[("\u202egnp".encode(), "file")])
@example(names=[("\u202egnp".encode(), "link")])
def test_no_directory_is_a_traceback(names: list[tuple[bytes, str]]) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        root = Path(directory) / "bundle"
        root.mkdir()
        (root / COMPOSE).write_text("name: polis\n")
        for name, kind in names:
            path = root / os.fsdecode(name)
            if name not in (b"", b".", b"..") and not os.path.lexists(path):
                make(path, kind)
        load(root)


def make(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_bytes(b"x")
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to(os.fsdecode(b"\xff/.."))
        case _:
            os.mkfifo(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/mem", "a\0b", "x" * 300, "fifo"])
def test_what_is_no_archive_is_refused_at_once(tmp_path: Path, path: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ConfigurationError):
        archive.load(tmp_path / path)


def many_keys(count: int) -> bytes:
    return b"".join(tars.pax_record(b"k%d" % number, b"") for number in range(count))


COMMENT = tars.pax_header(tarfile.XHDTYPE, tars.pax_record(b"comment", b"x" * 8000))
BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros": lambda: tars.zipped(bytes(SMALL), 100),
    "zeros in a file": lambda: tars.zipped(Item("x", size=2**33).packed(tarfile.GNU_FORMAT) + bytes(SMALL), 100),
    "a name": lambda: tars.zipped(tars.gnu_long_name(2**33, b"x" * SMALL), 100),
    "a pax header": lambda: tars.zipped(tars.pax_header(tarfile.XHDTYPE, b"9" * SMALL * 50), 1),
    "pax digits": lambda: tars.pax_header(tarfile.XHDTYPE, b"9" * (SMALL - 2048)) + tar([Item(COMPOSE)]),
    "pax keys": lambda: tars.pax_header(tarfile.XHDTYPE, many_keys(60_000)) + tar([Item(COMPOSE)]),
    "global keys": lambda: (
        tars.pax_header(tarfile.XGLTYPE, many_keys(30_000)) + tar([Item(f"f{n}") for n in range(1000)])
    ),
    "a sparse map": lambda: tar([Item("x", pax={"GNU.sparse.map": "0,0," * 100_000 + "0,0"}), Item(COMPOSE)]),
    "comments": lambda: (
        b"".join(COMMENT * 3 + Item(f"f{n}").packed(tarfile.GNU_FORMAT) for n in range(1000)) + tar([Item(COMPOSE)])
    ),
    "hard links": lambda: tar(
        [Item("x", data=b"x" * 4096), *[Item(f"h{n}", kind=tarfile.LNKTYPE, link="x") for n in range(2000)]]
    ),
    "directories": lambda: tar([Item("/".join(f"{n}d{depth}" for depth in range(100))) for n in range(1000)]),
    "links": lambda: tar(
        [Item(f"l{n}", kind=tarfile.SYMTYPE, link=f"l{n + 1}") for n in range(3000)] + [Item("l3000"), Item(COMPOSE)]
    ),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_bundle_takes_more_memory_than_its_limits_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    monkeypatch.setattr(archive, "MAX_TOTAL", SMALL)
    monkeypatch.setattr(archive, "MAX_FILE", SMALL)
    monkeypatch.setattr(archive, "MAX_ENTRIES", 1024)
    path = tmp_path / "bundle.tar"
    path.write_bytes(BOMBS[bomb]())
    tracemalloc.start()
    try:
        assert isinstance(load(path), ConfigurationError)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40 * SMALL
