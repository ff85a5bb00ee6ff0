"""Debian packages as bytes: made from nothing, or packed anew. A .deb is an `ar` archive of two tars.

What is made from nothing is left uncompressed, so that equal input is equal output on any machine. What is packed anew
is packed with zstd: to download, hash and unpack a package so takes an emulated CPU two thirds of the time that it
takes without compression (there is more to hash), and three quarters of that of xz.
"""

from __future__ import annotations

import io
import lzma
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

MAGIC = b"!<arch>\n"
FORMAT = b"2.0\n"
HEADER = 60
"""Bytes before each member of the archive."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a package by its absolute path; with `link`, a symbolic link to it."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    link: str = ""


def build(
    control: Mapping[str, str], *, files: Sequence[Entry] = (), scripts: Mapping[str, str] | None = None
) -> bytes:
    """Return a package: `control` in its order, `scripts` by name (postinst, …); owner root, all times 0."""
    paragraph = "".join(f"{key}: {value}\n" for key, value in control.items())
    own = [Entry("/control", paragraph.encode())]
    own += [Entry(f"/{name}", text.encode(), 0o755) for name, text in sorted((scripts or {}).items())]
    return _archive({"debian-binary": FORMAT, "control.tar": _tar(own), "data.tar": _tar(files)})


def repack(
    deb: bytes,
    *,
    dropped: Callable[[str], bool] = lambda _path: False,
    fields: Collection[str] = (),
) -> bytes:
    """Return the package, without the files whose absolute path is `dropped`, and without control `fields`.

    Raises LabError if it is no package, or one compressed by other means than xz, or if there is no zstd.
    """
    members = _members(deb)

    def without_fields(name: str, content: bytes) -> bytes:
        return _without(content.decode(), fields).encode() if name == "/control" else content

    control = _rewrite(_tar_of(members, "control"), change=without_fields)
    data = _rewrite(_tar_of(members, "data"), dropped=dropped)
    return _archive({"debian-binary": FORMAT, "control.tar": control, "data.tar.zst": _zstd(data)})


def control_of(deb: bytes) -> str:
    """Return the package's control paragraph, which ends with a line feed; raises LabError."""
    with tarfile.open(fileobj=io.BytesIO(_tar_of(_members(deb), "control"))) as tar:
        for info in tar:
            content = tar.extractfile(info) if info.name.removeprefix("./") == "control" else None
            if content is not None:
                return content.read().decode().rstrip("\n") + "\n"
    raise LabError("a package without a control file")


def _rewrite(
    old: bytes,
    *,
    dropped: Callable[[str], bool] = lambda _path: False,
    change: Callable[[str, bytes], bytes] = lambda _path, content: content,
) -> bytes:
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(old)) as source,
        tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as target,
    ):
        for info in source:
            name = info.name.removeprefix(".")
            if not info.isdir() and dropped(name):
                continue
            file = source.extractfile(info) if info.isreg() else None
            content = change(name, file.read()) if file is not None else b""
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _without(paragraph: str, fields: Collection[str]) -> str:
    """Return a control paragraph without some of its fields, which may go on in lines that begin with a blank."""
    kept, keeping = [], True
    for line in paragraph.splitlines(keepends=True):
        if not line.startswith((" ", "\t")):
            keeping = line.partition(":")[0] not in fields
        if keeping:
            kept.append(line)
    return "".join(kept)


def _members(deb: bytes) -> dict[str, bytes]:
    if not deb.startswith(MAGIC):
        raise LabError("not a Debian package")
    members = {}
    offset = len(MAGIC)
    while offset + HEADER <= len(deb):
        header = deb[offset : offset + HEADER]
        start, size = offset + HEADER, int(header[48:58])
        members[header[:16].decode().rstrip(" /")] = deb[start : start + size]
        offset = start + size + size % 2
    return members


def _tar_of(members: Mapping[str, bytes], name: str) -> bytes:
    if f"{name}.tar" in members:
        return members[f"{name}.tar"]
    if f"{name}.tar.xz" in members:
        return lzma.decompress(members[f"{name}.tar.xz"])
    raise LabError(f"a package with none of {name}.tar, {name}.tar.xz, but {', '.join(members)}")


def _zstd(data: bytes) -> bytes:
    if shutil.which("zstd") is None:
        raise LabError("zstd is not installed")
    # No higher level: what is hashed and unpacked in the end hardly becomes less.
    return subprocess.run(["zstd", "-q", "-6", "-T0", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


def _archive(members: Mapping[str, bytes]) -> bytes:
    archive = bytearray(MAGIC)
    for name, data in members.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
        archive += data + b"\n" * (len(data) % 2)
    return bytes(archive)


def _tar(entries: Sequence[Entry]) -> bytes:
    """Return a tar as dpkg writes it: every directory before what it holds, names with a leading `./`."""
    directories = {"."}
    for entry in entries:
        parts = entry.path.split("/")[1:-1]
        directories |= {"/".join([".", *parts[:length]]) for length in range(1, len(parts) + 1)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(directories):
            tar.addfile(_info(name, tarfile.DIRTYPE, 0o755))
        for entry in sorted(entries, key=lambda entry: entry.path):
            info = _info(f".{entry.path}", tarfile.SYMTYPE if entry.link else tarfile.REGTYPE, entry.mode)
            info.linkname, info.size = entry.link, len(entry.data)
            tar.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def _info(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = kind, 0o777 if kind == tarfile.SYMTYPE else mode
    info.uname = info.gname = "root"
    return info
