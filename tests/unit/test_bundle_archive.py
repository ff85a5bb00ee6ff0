from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import socket
import stat
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polis.bundle import archive
from polis.bundle.archive import Bundle, load
from polis.errors import ConfigurationError, ExitCode

COMPOSE = "docker-compose.yml"


@dataclass(frozen=True)
class Item:
    """One entry of a hand-made tar."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o644
    mtime: int = 0


def make_tar(path: Path, *items: Item, form: int = tarfile.PAX_FORMAT, compose: bool = True) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for item in (*items, *((Item(COMPOSE, b"name: polis\n"),) if compose else ())):
            info = tarfile.TarInfo(item.name)
            info.type, info.linkname, info.mode, info.mtime = item.kind, item.link, item.mode, item.mtime
            info.size = len(item.data)
            tar.addfile(info, io.BytesIO(item.data))
    return path


def make_directory(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in {COMPOSE: b"name: polis\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def members(bundle: Bundle) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(bundle.content)) as tar:
        return {member.name: member for member in tar}


def refusal(source: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(source)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    assert str(source) in caught.value.message
    return caught.value.cause


# ── what is accepted, and what becomes of it ─────────────────────────────────


def test_the_shipped_bundle_loads() -> None:
    bundle = load()
    assert COMPOSE in members(bundle)
    assert bundle.files == sum(not member.isdir() for member in members(bundle).values())
    assert bundle.size == len(bundle.content)


def test_the_format_never_changes_by_accident(tmp_path: Path) -> None:
    """A new digest would configure every workspace again."""
    bundle = load(make_directory(tmp_path, {"scripts/run.sh": b"#!/bin/sh\n", "ünï/c": b"x"}))
    assert bundle.digest == "sha256:47859a8ca559dd30b71eaca6281f6795e705119f96f25ccd72870cb0ca78c0c9"


def test_directory_tar_and_gzipped_tar_of_the_same_content_are_equal(tmp_path: Path) -> None:
    files = {"a/b.conf": b"b", "a/c.sh": b"#!/bin/sh\n", "z": b""}
    (tmp_path / "d").mkdir()
    directory = load(make_directory(tmp_path / "d", files))
    items = [Item(f"./{name}", data, mode=0o600, mtime=7) for name, data in reversed(files.items())]
    plain = make_tar(tmp_path / "b.tar", *items)
    zipped = tmp_path / "b.tar.gz"
    zipped.write_bytes(gzip.compress(plain.read_bytes()))
    assert directory == load(plain) == load(zipped)


def test_entries_are_normalised(tmp_path: Path) -> None:
    source = make_tar(
        tmp_path / "b.tar", Item("x/run", b"#!/bin/sh\n", mode=0o4777, mtime=99), Item("x/elf", b"\x7fELF..")
    )
    found = members(load(source))
    assert list(found) == sorted(found)
    assert {name: oct(member.mode) for name, member in found.items()} == {
        COMPOSE: "0o644",
        "x": "0o755",
        "x/elf": "0o755",
        "x/run": "0o755",
    }
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in found.values()} == {(0, 0, 0, "", "")}


def test_an_inner_hard_link_becomes_a_file_of_its_own(tmp_path: Path) -> None:
    source = make_tar(tmp_path / "b.tar", Item("a", b"data"), Item("b", kind=tarfile.LNKTYPE, link="./a"))
    bundle = load(source)
    assert bundle.files == 3
    assert members(bundle)["b"].isreg()


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_other_alphabets_are_kept(tmp_path: Path, form: int) -> None:
    long = "/".join(["d" * 90] * 4) + "/żółw.conf"
    assert long in members(load(make_tar(tmp_path / "b.tar", Item(long, b"x"), form=form)))


@pytest.mark.parametrize("target", ["a/file", "./a/../a/file", "a", "up/a/file", "."])
def test_links_that_stay_inside_are_kept(tmp_path: Path, target: str) -> None:
    source = make_tar(
        tmp_path / "b.tar",
        Item("a/file", b"x"),
        Item("a/back", kind=tarfile.SYMTYPE, link="../a"),
        Item("up", kind=tarfile.SYMTYPE, link="a/back/.."),
        Item("link", kind=tarfile.SYMTYPE, link=target),
    )
    assert members(load(source))["link"].issym()


def test_what_tools_leave_in_a_directory_is_not_content(tmp_path: Path) -> None:
    clean = load(make_directory(tmp_path, {"a": b"x"}))
    make_directory(tmp_path, {".git/config": b"", ".DS_Store": b"", "__pycache__/x.pyc": b""})
    assert load(tmp_path) == clean


def test_write_gives_the_owner_alone_the_canonical_tar(tmp_path: Path) -> None:
    bundle, target = load(), tmp_path / "bundle.tar"
    target.write_bytes(b"older and readable by all")
    target.chmod(0o644)
    bundle.write(target)
    assert target.read_bytes() == bundle.content
    if os.name == "posix":
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


# ── what is refused ──────────────────────────────────────────────────────────

LINK, HARD = tarfile.SYMTYPE, tarfile.LNKTYPE
REFUSED = {
    "absolute": ([Item("/etc/passwd")], "'/etc/passwd' is an absolute path"),
    "parent": ([Item("../x")], "'../x' climbs"),
    "inner parent": ([Item("a/../b")], "'a/../b' climbs"),
    "backslash": ([Item("..\\x")], "has a backslash"),
    "drive": ([Item("C:/x")], "drive letter"),
    "newline": ([Item("a\nb")], "'a\\nb' has control"),
    "bidi": ([Item("a\u202egnp.sh")], "has control"),
    "env": ([Item(".env")], "'.env' has a name that polis writes"),
    "env in capitals": ([Item(".ENV")], "polis writes"),
    "markers": ([Item(".polis/marker")], "polis writes"),
    "too long": ([Item("x" * 256)], "too long"),
    "much too long": ([Item("d/" * 600 + "x")], "too long"),
    "link absolute": ([Item("l", kind=LINK, link="/etc")], "'l' links to '/etc', outside"),
    "link out": ([Item("d/l", kind=LINK, link="../../etc")], "outside of the bundle"),
    "link with backslash": ([Item("l", kind=LINK, link="..\\x")], "backslash"),
    "link to nothing": ([Item("l", kind=LINK, link="nowhere")], "not in the bundle"),
    "link to what polis writes": ([Item("l", kind=LINK, link=".env")], "not in the bundle"),
    "link through a file": ([Item("f"), Item("l", kind=LINK, link="f/..")], "is a file"),
    "link loop": ([Item("a", kind=LINK, link="b"), Item("b", kind=LINK, link="a")], "without end"),
    "link chain": (
        [Item("d/e/f"), Item("s", kind=LINK, link="d/e"), Item("d/out", kind=LINK, link="../s/../../..")],
        "outside of the bundle",
    ),
    "link as root": ([Item(".", kind=LINK, link="docker-compose.yml")], "no directory"),
    "write through link": ([Item("d/x"), Item("l", kind=LINK, link="d"), Item("l/y")], "is a symbolic link"),
    "link over directory": ([Item("d/x"), Item("d", kind=LINK, link=".")], "is a directory"),
    "hard link out": ([Item("h", kind=HARD, link="/etc/shadow")], "absolute path"),
    "hard link to nothing": ([Item("h", kind=HARD, link="later"), Item("later")], "no file before it"),
    "hard link to link": ([Item("l", kind=LINK, link="."), Item("h", kind=HARD, link="l")], "no file before it"),
    "fifo": ([Item("p", kind=tarfile.FIFOTYPE)], "'p' is neither"),
    "device": ([Item("z", kind=tarfile.CHRTYPE)], "'z' is neither"),
    "block device": ([Item("z", kind=tarfile.BLKTYPE)], "'z' is neither"),
    "twice": ([Item("a"), Item("./a")], "'./a' is there twice"),
    "directory twice": ([Item("a/", kind=tarfile.DIRTYPE), Item("a/", kind=tarfile.DIRTYPE)], "twice"),
    "case": ([Item("Readme"), Item("README")], "'README' is 'Readme'"),
    "case of a directory": ([Item("Etc/a"), Item("etc/b")], "'etc/b' is 'Etc'"),
    "accents": ([Item("\u00e9"), Item("e\u0301")], "where case or accents do not count"),
    "file as directory": ([Item("a"), Item("a/b")], "needs a directory where 'a' is a file"),
    "directory as file": ([Item("a/b"), Item("a")], "needs a file where 'a' is a directory"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_hostile_entries_are_refused_by_name_and_reason(tmp_path: Path, case: str) -> None:
    items, reason = REFUSED[case]
    assert reason in refusal(make_tar(tmp_path / "b.tar", *items))


def test_a_name_with_nul_is_refused(tmp_path: Path) -> None:
    """Only a pax header can hold one."""
    source = make_tar(tmp_path / "b.tar", Item("aXb" + "é" * 60))
    source.write_bytes(source.read_bytes().replace(b"path=aXb", b"path=a\0b"))
    assert "control" in refusal(source)


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    source = make_tar(tmp_path / "b.tar", Item("aXb"))
    data = source.read_bytes()
    checksum = sum(data[:512]) - sum(data[148:156]) + 8 * 32 + 0xFF - ord("X")
    source.write_bytes(data[:148].replace(b"aXb", b"a\xffb") + b"%06o\0 " % checksum + data[156:])
    assert "UTF-8" in refusal(source)


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    assert "neither" in refusal(
        make_tar(tmp_path / "b.tar", Item("s", kind=tarfile.GNUTYPE_SPARSE), form=tarfile.GNU_FORMAT)
    )


def test_a_bundle_needs_a_compose_file_at_its_root(tmp_path: Path) -> None:
    assert COMPOSE in refusal(make_tar(tmp_path / "b.tar", Item(f"sub/{COMPOSE}"), compose=False))
    assert COMPOSE in refusal(make_tar(tmp_path / "c.tar", Item(f"{COMPOSE}/x"), compose=False))


@pytest.mark.parametrize("data", [b"", b"text", b"\x1f\x8bno", b"PK\3\4" * 300, gzip.compress(b"text", mtime=0)])
def test_what_is_no_tar_is_refused(tmp_path: Path, data: bytes) -> None:
    source = tmp_path / "b.tar"
    source.write_bytes(data)
    refusal(source)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing")


def test_a_damaged_header_does_not_end_a_tar_silently(tmp_path: Path) -> None:
    source = make_tar(tmp_path / "b.tar", Item("a"), Item("b"), form=tarfile.USTAR_FORMAT)
    data = bytearray(source.read_bytes())
    data[512 + 10] ^= 1
    source.write_bytes(data)
    assert "damaged" in refusal(source)


def test_a_cut_tar_is_refused_wherever_it_was_cut(tmp_path: Path) -> None:
    data = make_tar(tmp_path / "b.tar", Item("a", b"x" * 700), Item("b", b"y")).read_bytes()
    source = tmp_path / "cut.tar"
    for size in range(0, data.rindex(b"name: polis") + 512, 256):
        source.write_bytes(data[:size])
        refusal(source)


# ── limits, judged before memory is spent ────────────────────────────────────


def huge(path: Path, size: int) -> Path:
    """Write a tar whose header promises `size` bytes that are not there."""
    info = tarfile.TarInfo("huge")
    info.size = size
    path.write_bytes(info.tobuf(tarfile.GNU_FORMAT))
    return path


@pytest.mark.parametrize("size", [archive.MAX_FILE + 1, 2**40])
def test_a_file_too_large_is_refused_from_its_header(tmp_path: Path, size: int) -> None:
    assert "'huge' is larger than" in refusal(huge(tmp_path / "b.tar", size))


def test_a_file_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (make_directory(tmp_path, {}) / "huge").open("wb") as file:
        file.truncate(archive.MAX_FILE + 1)
    assert "'huge' is larger than" in refusal(tmp_path)


def test_files_too_large_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_TOTAL", 100)
    assert "'b' makes the bundle larger" in refusal(make_directory(tmp_path, {"a": b"x" * 60, "b": b"x" * 60}))


def test_hard_links_count_with_what_they_stand_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_TOTAL", 100)
    source = make_tar(tmp_path / "b.tar", Item("a", b"x" * 60), Item("b", kind=HARD, link="a"))
    assert "'b' makes the bundle larger" in refusal(source)


def test_a_decompression_bomb_in_a_header_is_refused(tmp_path: Path) -> None:
    """A long name's length is data, and tarfile would read all of it at once."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2**36
    source = tmp_path / "b.tar.gz"
    with gzip.open(source, "wb", compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(64):
            file.write(bytes(2**20))
    assert "larger than" in refusal(source)


def test_headers_nested_without_end_are_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1
    source = tmp_path / "b.tar"
    source.write_bytes((info.tobuf(tarfile.GNU_FORMAT) + bytes(512)) * (sys.getrecursionlimit() + 10))
    refusal(source)


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ENTRIES", 10)
    assert "10" in refusal(make_tar(tmp_path / "a.tar", *(Item(f"f{n}") for n in range(10))))
    assert "10" in refusal(make_tar(tmp_path / "b.tar", Item("/".join("abcdefghij"))))
    assert "10" in refusal(make_tar(tmp_path / "c.tar", *[Item("./", kind=tarfile.DIRTYPE)] * 11))


# ── directories ──────────────────────────────────────────────────────────────


@pytest.mark.skipif(os.name != "posix", reason="needs links and special files")
def test_a_directory_is_checked_like_a_tar(tmp_path: Path) -> None:
    root = make_directory(tmp_path / "d", {"a": b"x"})
    (root / "out").symlink_to(tmp_path)
    assert "'out' links to" in refusal(root)
    (root / "out").unlink()
    os.mkfifo(root / "pipe")
    assert "'pipe' is neither" in refusal(root)
    (root / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s"))
        assert "'s' is neither" in refusal(root)
    (root / "s").unlink()
    (root / ".env").write_text("x")
    assert "'.env'" in refusal(root)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_are_never_followed_when_a_directory_is_read(tmp_path: Path) -> None:
    root = make_directory(tmp_path / "d", {"real/file": b"x"})
    (root / "loop").symlink_to(".")
    (root / "alias").symlink_to("real")
    found = members(load(root))
    assert found["alias"].issym()
    assert "alias/file" not in found


# ── properties ───────────────────────────────────────────────────────────────

# Odd on purpose: what may be in a name, and what must not.
HOSTILE = [
    "..",
    ".",
    "",
    "a",
    "A",
    "b",
    "link",
    ".env",
    ".polis",
    COMPOSE,
    "C:",
    "a\\b",
    "..\\..",
    "n\0l",
    "é",
    "e\u0301",
]
names = st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=5).map("/".join)
kinds = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
items = st.builds(Item, name=names, data=st.just(b""), kind=kinds, link=names)


def naive_extract(bundle: Bundle, root: Path) -> None:
    """Unpack as a careless program would: follow whatever is there, check nothing."""
    with tarfile.open(fileobj=io.BytesIO(bundle.content)) as tar:
        for member in tar:
            path = os.path.join(root, member.name)  # noqa: PTH118 - an absolute name must win, as it would there
            if member.isdir():
                os.makedirs(path, exist_ok=True)  # noqa: PTH103
            elif member.issym():
                os.symlink(member.linkname, path)  # noqa: PTH211
            else:
                content = tar.extractfile(member)
                assert content is not None
                Path(path).write_bytes(content.read())


@pytest.mark.skipif(os.name != "posix", reason="needs links")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(entries=st.lists(items, max_size=8))
def test_an_accepted_bundle_never_leaves_its_directory(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Item]
) -> None:
    base = tmp_path_factory.mktemp("case")
    outside = base / "outside"
    inside = outside / "inside"
    inside.mkdir(parents=True)
    try:
        bundle = load(make_tar(base / "b.tar", *entries))
    except ConfigurationError:
        return
    naive_extract(bundle, inside)
    assert [path.name for path in outside.iterdir()] == ["inside"]
    for path in inside.rglob("*"):
        assert path.resolve(strict=True).is_relative_to(inside.resolve())
    assert load(inside) == bundle


safe_names = st.lists(st.sampled_from(["a", "b", "conf.d", "x.sh", "ż"]), min_size=1, max_size=3).map("/".join)


@settings(max_examples=50, deadline=None)
@given(
    files=st.dictionaries(safe_names, st.binary(max_size=40), max_size=6),
    seed=st.integers(0, 2**16),
)
def test_the_same_content_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], seed: int
) -> None:
    files = {name: data for name, data in files.items() if not any(other.startswith(f"{name}/") for other in files)}
    results = set()
    for turn in range(3):
        chance = random.Random(seed + turn)  # noqa: S311
        shuffled = dict(chance.sample(sorted(files.items()), len(files)))
        root = make_directory(tmp_path_factory.mktemp("d"), shuffled)
        for path in [*root.rglob("*")]:
            os.utime(path, (chance.randrange(2**30), chance.randrange(2**30)))
            path.chmod(0o700 if path.is_dir() else chance.choice([0o600, 0o644, 0o755]))
        results.add(load(root).content)
        listed = [Item(name, data, mtime=chance.randrange(2**30)) for name, data in shuffled.items()]
        results.add(load(make_tar(root.parent / f"{root.name}.tar", *listed)).content)
    assert len(results) == 1


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_harmless_but_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("d") / "b.tar"
    content = bytearray(
        make_tar(path, Item("a" * 120, b"x"), Item("é", b"y" * 600), Item("l", kind=LINK, link="é")).read_bytes()
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(ConfigurationError):
        load(path)
