"""Tars that no tool makes: any name, kind, size and header, then damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import strategies as st

from tests.fuzz.damage import broken

COMPOSE = "docker-compose.yml"
KINDS = (
    *(tarfile.REGTYPE, tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE),
    *(
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.CONTTYPE,
        tarfile.GNUTYPE_SPARSE,
        b"V",
        b"Z",
        b"\xff",
    ),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)
PARTS = ("..", ".", "", "a", "A", "b", "l", COMPOSE, ".env", "C:", "a\\b", "n\0l", "é", "e\u0301", "x" * 120, "x" * 300)
SIZES = (0, 1, 511, 512, 513, -1, -(2**40), 2**33, 2**62, 2**70)
"""Some that a header cannot hold otherwise than in base 256."""

KEYS = (
    *("path", "linkpath", "size", "mtime", "uid", "uname", "hdrcharset", "comment", "charset", "SCHILY.xattr.user.x"),
    *("GNU.sparse.map", "GNU.sparse.size", "GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.name"),
    *("GNU.sparse.realsize", "GNU.sparse.numblocks", "GNU.sparse.offset", "GNU.sparse.numbytes", "", "=", "\n"),
)
VALUES = (
    *(
        "",
        "0",
        "1",
        "-1",
        "512",
        "1e400",
        "nan",
        "99999999999999999999",
        "9" * 5000,
        "a",
        "../x",
        "/x",
        "a\0b",
        "\n",
        "é",
    ),
    *("BINARY", "ISO-IR 10646 2000 UTF-8", "0,1,2,3", ",", "1,-1", "x" * 2000, COMPOSE),
)

names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map("/".join)


@dataclass(frozen=True)
class Item:
    """One header, and whatever follows it."""

    name: str
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    data: bytes = b""
    size: int | None = None
    pax: dict[str, str] = field(default_factory=dict)

    def packed(self, form: Literal[0, 1, 2]) -> bytes:
        info = tarfile.TarInfo(self.name)
        info.type, info.linkname = self.kind, self.link
        info.size = len(self.data) if self.size is None else self.size
        info.pax_headers = dict(self.pax) if form == tarfile.PAX_FORMAT else {}
        try:
            head = info.tobuf(form, "utf-8", "surrogateescape")
        except ValueError:  # a size that this format cannot say
            info.size = len(self.data)
            head = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        return head + self.data + bytes(-len(self.data) % tarfile.BLOCKSIZE)


items = st.builds(
    Item,
    name=names,
    kind=st.sampled_from(KINDS),
    link=names | st.just(""),
    data=st.binary(max_size=30)
    | st.sampled_from([b"a\0", b"30 path=a\n", b"12 size=-1\n", b"1\n0\n", b"\n", b"x" * 600]),
    size=st.none() | st.none() | st.sampled_from(SIZES),
    pax=st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2),
)


def tar(entries: list[Item], form: Literal[0, 1, 2] = tarfile.PAX_FORMAT) -> bytes:
    return b"".join(entry.packed(form) for entry in entries) + bytes(2 * tarfile.BLOCKSIZE)


def gnu_long_name(length: int, data: bytes) -> bytes:
    """Return a header that promises a name of some length, and what follows."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, length
    return info.tobuf(tarfile.GNU_FORMAT) + data


def pax_header(kind: bytes, body: bytes) -> bytes:
    """Return an extended header with any body at all."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = kind, len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % tarfile.BLOCKSIZE)


def pax_record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body) + 1
    while len(b"%d" % length) + len(body) != length:
        length += 1
    return b"%d" % length + body


FORMS: tuple[Literal[0, 1, 2], ...] = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)
COMPRESSIONS: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, bz2.compress, lzma.compress)
GOOD = tar(
    [
        Item("etc/", kind=tarfile.DIRTYPE),
        Item("etc/" + "long/" * 30 + "x.conf", data=b"x" * 700),
        Item("run.sh", data=b"#!/bin/sh\n"),
        Item("link", kind=tarfile.SYMTYPE, link="etc"),
        Item("hard", kind=tarfile.LNKTYPE, link="run.sh"),
        Item("żółw", data=b"y"),
        Item(COMPOSE, data=b"name: polis\n"),
    ]
)


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Draw a tar of odd entries, compressed or not, whole or damaged."""
    compose = [Item(COMPOSE, data=b"name: polis\n")] if draw(st.integers(0, 5)) else []
    content = tar([*draw(st.lists(items, max_size=4)), *compose], draw(st.sampled_from(FORMS)))
    if draw(st.integers(0, 2)) == 0:
        content = draw(broken(content))
    compress = draw(st.sampled_from(COMPRESSIONS[:1] * 3 + COMPRESSIONS))
    return compress(content)


def zipped(data: bytes, times: int) -> bytes:
    """Return a gzip stream of `times` repetitions, without holding them."""
    target = io.BytesIO()
    with gzip.GzipFile(fileobj=target, mode="wb", compresslevel=9, mtime=0) as file:
        for _ in range(times):
            file.write(data)
    return target.getvalue()
