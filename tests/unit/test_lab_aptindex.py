"""What the lab tells apt of a repository: every .deb with its size and sum, and the lists with theirs."""

from __future__ import annotations

import gzip
import hashlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from lab import aptindex, deb
from lab.errors import LabError

DATE = datetime(2025, 3, 2, 21, 4, 5, tzinfo=UTC)
DEBS = {
    f"pool/{name}.deb": deb.build({"Package": name, "Version": version, "Architecture": "amd64", "Description": name})
    for name, version in (("two", "5:2-1"), ("one", "1.0"))
}


def paragraphs(index: bytes) -> list[dict[str, str]]:
    """Read Packages as apt does: paragraphs between empty lines, a field a line."""
    texts = index.decode().rstrip("\n").split("\n\n")
    return [dict(line.split(": ", 1) for line in text.splitlines()) for text in texts]


def fields(release: bytes) -> tuple[dict[str, str], list[list[str]]]:
    """Read Release: its fields, and the lines below SHA256."""
    head, _, sums = release.decode().partition("SHA256:\n")
    return dict(line.split(": ", 1) for line in head.splitlines()), [line.split() for line in sums.splitlines()]


def test_every_package_is_listed_with_its_fields_place_size_and_sum() -> None:
    one, two = paragraphs(aptindex.packages(DEBS))
    assert (one["Package"], one["Version"], two["Package"], two["Version"]) == ("one", "1.0", "two", "5:2-1")
    for entry in (one, two):
        content = DEBS[entry["Filename"]]
        assert entry["Filename"] == f"pool/{entry['Package']}.deb"
        assert entry["Size"] == str(len(content))
        assert entry["SHA256"] == hashlib.sha256(content).hexdigest()
        assert entry.keys() & {"MD5sum", "SHA1", "SHA512"} == set()


def test_the_list_is_the_same_whatever_order_the_files_come_in() -> None:
    assert aptindex.packages(dict(reversed(DEBS.items()))) == aptindex.packages(DEBS)


def test_a_file_that_is_no_package_is_refused() -> None:
    with pytest.raises(LabError, match="not a Debian package"):
        aptindex.packages({"pool/x.deb": b"nothing"})


def test_the_list_is_served_plain_and_packed() -> None:
    listing = aptindex.listing(b"Package: one\n")
    assert listing["stable/binary-amd64/Packages"] == b"Package: one\n"
    assert gzip.decompress(listing["stable/binary-amd64/Packages.gz"]) == b"Package: one\n"
    assert aptindex.listing(b"Package: one\n") == listing


def test_release_names_the_lists_with_size_and_sum() -> None:
    listing = aptindex.listing(aptindex.packages(DEBS))
    told, sums = fields(aptindex.release(listing, date=DATE))
    assert sums == [[hashlib.sha256(data).hexdigest(), str(len(data)), path] for path, data in listing.items()]
    assert (told["Suite"], told["Codename"], told["Components"], told["Architectures"]) == (
        "noble",
        "noble",
        "stable",
        "amd64",
    )
    assert parsedate_to_datetime(told["Date"]) == DATE
