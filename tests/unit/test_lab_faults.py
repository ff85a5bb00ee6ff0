"""Which requests a fault hits, and which port serves which path."""

from __future__ import annotations

import pytest

from lab.faultproxy import Service
from lab.faults import Fault, Mode

BLOB = f"/v2/odralabshq/polis-gate/blobs/sha256:{'0' * 64}"
MANIFEST = "/v2/odralabshq/polis-gate/manifests/v0.5.0"
INDEX = "/docker/ubuntu/dists/noble/InRelease"
DEB = "/docker/ubuntu/dists/noble/pool/stable/amd64/docker-ce_27.5.1_amd64.deb"
SYSBOX = "/sysbox/sysbox-ce_0.6.7-0.linux_amd64.deb"

EVERYTHING = (BLOB, MANIFEST, INDEX, DEB, SYSBOX)
ALL = [Mode.OUTAGE, Mode.UNAVAILABLE, Mode.THROTTLED, Mode.HANG, Mode.UNAUTHORIZED, Mode.MISSING]


@pytest.mark.parametrize(
    ("mode", "hit"),
    [
        (Mode.NONE, ()),
        *((mode, EVERYTHING) for mode in ALL),
        (Mode.RESET, (BLOB, DEB, SYSBOX)),
        (Mode.CORRUPT, (BLOB, DEB, SYSBOX)),
        (Mode.FOREIGN, (INDEX, DEB)),
    ],
)
def test_a_fault_hits_what_it_is_about_and_counts_only_that(mode: Mode, hit: tuple[str, ...]) -> None:
    fault = Fault(mode)
    assert tuple(path for path in EVERYTHING if fault.take("GET", path) is not Mode.NONE) == hit
    assert fault.hits == len(hit)


def test_every_mode_is_accounted_for() -> None:
    assert {*ALL, Mode.NONE, Mode.RESET, Mode.CORRUPT, Mode.FOREIGN} == set(Mode)


@pytest.mark.parametrize("mode", [Mode.RESET, Mode.CORRUPT])
def test_a_fault_of_the_body_needs_one(mode: Mode) -> None:
    fault = Fault(mode, count=1)
    for path in ("/v2/x/manifests/y.deb", "/x.deb.gz", "/x.deb/", "/v2/x/blobs/uploads/", f"{DEB}c"):
        assert fault.take("GET", path) is Mode.NONE
    for path in (BLOB, DEB):
        assert fault.take("HEAD", path) is Mode.NONE
    assert fault.take("GET", f"{DEB}?query=x") is mode


@pytest.mark.parametrize(
    "path", ["/docker-foreign/ubuntu/dists/noble/InRelease", "/x/docker/ubuntu/InRelease", "/v2/docker/x/manifests/1"]
)
def test_only_the_signed_repository_can_be_answered_by_a_foreign_one(path: str) -> None:
    assert Fault(Mode.FOREIGN).take("GET", path) is Mode.NONE


def test_a_fault_for_one_package_leaves_the_others_and_heals_by_itself() -> None:
    fault = Fault(Mode.CORRUPT, match=r"docker-ce_.*\.deb$", count=1)
    assert [fault.take("GET", path) for path in (SYSBOX, BLOB, DEB, DEB)] == [
        Mode.NONE,
        Mode.NONE,
        Mode.CORRUPT,
        Mode.NONE,
    ]
    assert fault.to_json()["mode"] == "none"


@pytest.mark.parametrize(
    ("target", "is_registry"),
    [
        ("/v2/", True),
        ("/v2/odralabshq/polis-gate/manifests/docker", True),
        ("/v2", False),
        ("/v2x/", False),
        ("/docker/v2/", False),
        (SYSBOX, False),
        ("/", False),
        ("*", False),
    ],
)
def test_a_path_belongs_to_exactly_one_port(target: str, is_registry: bool) -> None:
    assert Service(1, is_registry=True).serves(target) is is_registry
    assert Service(1, is_registry=False).serves(target) is not is_registry
