"""What the guest hands out for an offline file and takes in from one, against a stand-in for the Docker Engine."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from lab import deb
from polis.guest.remote import alone, collecting, places
from tests import engines

ID = "sha256:" + "1" * 64
OTHER = "sha256:" + "2" * 64
USER = pwd.getpwnam("nobody")
LAYERS = bytes(range(256)) * 5000


@dataclass
class Store:
    """The images of the engine: their bytes by id, and names for them."""

    present: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    refusal: str = ""


class _Handler(engines.Handler):
    def get(self) -> None:
        identity, _, what = unquote(self.path).removeprefix("/images/").partition("/")
        content = self.images.present.get(identity)
        if content is None:
            self.answer(404, b'{"message": "No such image"}')
        elif what == "get":
            self.answer(200, content)
        else:
            self.answer(200, json.dumps({"Id": identity, "Size": len(content)}).encode())

    def post(self) -> None:
        store, parts = self.images, urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/images/load":
            content = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/x-tar"
            if not store.refusal:
                store.present[ID] = content
            self.answer(200, json.dumps({"error": store.refusal} if store.refusal else {"stream": "Loaded"}).encode())
            return
        store.names[f"{query['repo'][0]}:{query['tag'][0]}"] = unquote(parts.path).split("/")[2]
        self.answer(201, b"")


@pytest.fixture
def given() -> list[tuple[Path, int, int]]:
    """What was given to whom: only root may really do it."""
    return []


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: list[tuple[Path, int, int]]) -> Iterator[Store]:
    monkeypatch.setattr(alone, "take_over", lambda: None)
    monkeypatch.setattr(places, "INCOMING", tmp_path / "incoming")
    monkeypatch.setattr(collecting, "PACKAGES", tmp_path / "packages")
    for name in ("incoming", "packages"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SUDO_USER", USER.pw_name)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((Path(path), uid, gid)))
    held = Store()
    with engines.serving(_Handler, held):
        yield held


def load(path: Path, *names: str) -> dict[str, Any]:
    return collecting.load({"path": str(path), "id": ID, "names": names}, lambda _: None)


def test_an_image_is_saved_for_the_user_who_fetches_it_and_discarded(
    store: Store, given: list[tuple[Path, int, int]]
) -> None:
    store.present = {ID: LAYERS}
    left = places.INCOMING / "offline-of-a-killed-one.tar"
    left.touch()
    (places.INCOMING / "another").touch()
    told: list[dict[str, Any]] = []
    path = Path(collecting.save({"id": ID}, told.append)["path"])
    assert path.read_bytes() == LAYERS
    assert path.stat().st_mode & 0o777 == 0o600
    assert given == [(path, USER.pw_uid, USER.pw_gid)]
    assert told
    assert not left.exists()
    collecting.discard({}, told.append)
    assert [each.name for each in places.INCOMING.iterdir()] == ["another"]


def test_an_image_that_cannot_be_saved_leaves_no_file(store: Store) -> None:
    assert collecting.save({"id": ID}, lambda _: None) == {"error": "No such image"}
    assert list(places.INCOMING.iterdir()) == []


def test_an_image_is_loaded_named_and_its_file_removed(store: Store) -> None:
    path = places.INCOMING / "offline-1.tar"
    path.write_bytes(LAYERS)
    assert load(path, "registry:5000/team/a:v1", "polis.locked/a:1") == {"id": ID}
    assert store.present == {ID: LAYERS}
    assert store.names == {"registry:5000/team/a:v1": ID, "polis.locked/a:1": ID}
    assert not path.exists()


def test_a_file_with_another_image_gives_no_name(store: Store) -> None:
    path = places.INCOMING / "offline-1.tar"
    path.write_bytes(LAYERS)
    answer = collecting.load({"path": str(path), "id": OTHER, "names": ["a:v1"]}, lambda _: None)
    assert OTHER in answer["error"]
    assert store.names == {}
    assert not path.exists()


def test_the_engine_s_refusal_is_told(store: Store) -> None:
    store.refusal = "invalid diffID for layer 0"
    path = places.INCOMING / "offline-1.tar"
    path.write_bytes(LAYERS)
    assert load(path, "a:v1") == {"error": "invalid diffID for layer 0"}
    assert store.names == {}
    assert not path.exists()


@pytest.mark.processes
def test_the_packages_are_told_with_what_they_say_of_themselves(store: Store) -> None:
    control = {"Package": "x", "Version": "5:1.0", "Architecture": "amd64", "Maintainer": "m <m@x>", "Description": "d"}
    (collecting.PACKAGES / "x_5%3a1.0_amd64.deb").write_bytes(deb.build(control))
    assert collecting.packages({}, lambda _: None)["sysbox"] is None
    (collecting.PACKAGES / collecting.SYSBOX).write_bytes(b"sysbox")
    (collecting.PACKAGES / "lock").touch()
    answer = collecting.packages({}, lambda _: None)
    assert answer["sysbox"] == str(collecting.PACKAGES / "sysbox-ce.deb")
    (entry,) = answer["packages"]
    assert entry["path"] == str(collecting.PACKAGES / "x_5%3a1.0_amd64.deb")
    assert entry["control"].startswith("Package: x\nVersion: 5:1.0\n")
    (collecting.PACKAGES / "broken.deb").write_bytes(b"x")
    with pytest.raises(subprocess.CalledProcessError):
        collecting.packages({}, lambda _: None)
