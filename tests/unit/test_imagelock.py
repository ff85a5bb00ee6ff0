"""The lock of a release: what it says, and what is refused in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polis import assembly, config
from polis.bundle import imagelock
from polis.contents import SpecifiedContents
from polis.errors import ConfigurationError
from tests.simulated import SimulatedDriver

DIGEST = "sha256:" + "a" * 64
ENTRY = {"digest": DIGEST, "id": "sha256:" + "b" * 64}


def text(images: object, **other: object) -> bytes:
    return json.dumps({"schema": 1, "images": images, **other}).encode()


def test_what_is_rendered_is_read_again() -> None:
    lock = {"polis-gate:v1": ENTRY, "docker.io/library/redis:7": {"digest": DIGEST}}
    assert imagelock.parse(imagelock.render(lock).encode(), "lock") == lock


def test_a_name_without_a_slash_is_of_the_configured_registry() -> None:
    lock = {"polis-gate:v1": ENTRY, "docker.io/library/redis:7": ENTRY}
    assert set(imagelock.under("ghcr.io/me", lock)) == {"ghcr.io/me/polis-gate:v1", "docker.io/library/redis:7"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"[]", '"schema": 1'),
        (b'{"schema": 2, "images": {}}', '"schema": 1'),
        (text([]), '"images"'),
        (text({}, more=1), "nothing else"),
        (text({"polis-gate": ENTRY}), "with a tag"),
        (text({"polis gate:1": ENTRY}), "with a tag"),
        (text({"a:1": {}}), '"digest"'),
        (text({"a:1": {"digest": DIGEST, "size": 1}}), "nothing else"),
        (text({"a:1": {"digest": "sha256:" + "A" * 64}}), "64 hexadecimal"),
        (text({"a:1": {"digest": DIGEST + "\n"}}), "64 hexadecimal"),
        (text({"a:1": {"digest": 1}}), "64 hexadecimal"),
        (b" " * (imagelock.MAX_SIZE + 1), "larger than"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=r"images\.lock") as caught:
        imagelock.parse(data, "images.lock")
    assert reason in caught.value.cause


def bundle(directory: Path, lock: bytes | None) -> Path:
    target = directory / "bundle"
    target.mkdir()
    (target / "docker-compose.yml").write_text("services: {}\n")
    if lock is not None:
        (target / "images.lock").write_bytes(lock)
    return target


def test_the_bundle_s_own_lock_counts_unless_one_is_configured(tmp_path: Path) -> None:
    own = bundle(tmp_path, text({"a:1": ENTRY}))
    other = tmp_path / "other.lock"
    other.write_bytes(text({"b:1": {"digest": DIGEST}}))
    spec = config.Spec.model_validate({"bundle": own, "registry": "r.example/me"})
    assert SpecifiedContents(spec).lock == {"r.example/me/a:1": ENTRY}
    assert SpecifiedContents(spec.model_copy(update={"images_lock": other})).lock == {
        "r.example/me/b:1": {"digest": DIGEST}
    }


def test_without_a_lock_nothing_is_locked(tmp_path: Path) -> None:
    assert SpecifiedContents(config.Spec.model_validate({"bundle": bundle(tmp_path, None)})).lock == {}


@pytest.mark.parametrize("lock", [b"{", None])
def test_a_lock_that_cannot_be_used_stops_up_before_anything_is_touched(tmp_path: Path, lock: bytes | None) -> None:
    path = tmp_path / "images.lock"
    if lock is not None:
        path.write_bytes(lock)
    spec = config.Spec.model_validate({"images_lock": path})
    with pytest.raises(ConfigurationError):
        assembly.check(spec, SimulatedDriver(path=tmp_path / "world.json"))


def test_a_bundle_that_cannot_be_used_is_refused_beside_a_lock_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "images.lock"
    path.write_text(imagelock.render({}))
    empty = tmp_path / "empty"
    empty.mkdir()
    spec = config.Spec.model_validate({"images_lock": path, "bundle": empty})
    with pytest.raises(ConfigurationError):
        assembly.check(spec, SimulatedDriver(path=tmp_path / "world.json"))
