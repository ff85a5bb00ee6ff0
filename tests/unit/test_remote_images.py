"""Pulling in the guest, against a stand-in for the Docker Engine on a Unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from polis.guest.remote import alone, images
from tests import engines

DIGEST = "sha256:" + "d" * 64
IDENTITY = "sha256:" + "1" * 64
LOCKED = {"image": f"polis.locked/a:{'d' * 64}", "digest": DIGEST}


@dataclass
class Images:
    """What the engine has, and what it was asked to pull; `served` is what the registry has instead of `DIGEST`."""

    present: set[str] = field(default_factory=set)
    served: dict[str, str] = field(default_factory=dict)
    loaded: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    pulled: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)


class _Handler(engines.Handler):
    def get(self) -> None:
        reference = unquote(self.path).removeprefix("/images/").removesuffix("/json")
        images = self.images
        origin = images.names.get(reference, reference)
        if origin not in images.present:
            self.answer(404, {"message": "No such image"})
            return
        digest = images.served.get(origin, DIGEST)
        digests = [] if origin in images.loaded else [f"{origin.partition(':')[0]}@{digest}"]
        self.answer(200, {"Id": IDENTITY if digest == DIGEST else "sha256:other", "RepoDigests": digests})

    def delete(self) -> None:
        reference = unquote(urlsplit(self.path).path).removeprefix("/images/")
        self.images.present.remove(reference)
        self.answer(200, {})

    def post(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        if self.path.startswith("/images/sha256"):
            name = f"{query['repo'][0]}:{query['tag'][0]}"
            self.images.names[name] = next(iter(sorted(self.images.present)))
            self.answer(201, {})
            return
        reference = f"{query['fromImage'][0]}:{query['tag'][0]}"
        if reference in self.images.refused:
            self.answer(200, {"error": "received unexpected HTTP status: 503"})
            return
        self.images.pulled.append(reference)
        self.images.present.add(reference)
        self.answer(200, {"status": "Download complete"})


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Images]:
    monkeypatch.setattr(alone, "take_over", lambda: None)
    images = Images()
    with engines.serving(_Handler, images):
        yield images


def wanted(reference: str, **pin: str) -> dict[str, str]:
    return {"reference": reference, "image": pin.get("image", reference), "digest": "", "id": "", **pin}


def pull(*references: str | dict[str, str]) -> dict[str, Any]:
    each = [reference if isinstance(reference, dict) else wanted(reference) for reference in references]
    return images.pull({"images": each, "silence": 5}, lambda _news: None)


def test_an_image_that_is_there_is_not_asked_of_the_registry(there: Images) -> None:
    there.present = {"registry/a:1"}
    there.refused = {"registry/a:1"}
    assert pull("registry/a:1", "registry/b:1") == {"pulled": ["registry/a:1", "registry/b:1"]}
    assert there.pulled == ["registry/b:1"]


def test_the_first_failure_ends_it_with_what_was_pulled_before(there: Images) -> None:
    there.refused = {"registry/b:1"}
    assert pull("registry/a:1", "registry/b:1", "registry/c:1") == {
        "pulled": ["registry/a:1"],
        "failed": {"reference": "registry/b:1", "error": "received unexpected HTTP status: 503"},
    }
    assert there.pulled == ["registry/a:1"]


def test_a_locked_image_that_is_the_right_one_gets_the_name_that_it_runs_under(there: Images) -> None:
    assert pull(wanted("registry/a:1", **LOCKED)) == {"pulled": [LOCKED["image"]]}
    assert there.names == {LOCKED["image"]: "registry/a:1"}
    assert pull(wanted("registry/a:2", **LOCKED)) == {"pulled": [LOCKED["image"]]}
    assert there.pulled == ["registry/a:1"]  # another tag of the same image is nothing new


def test_an_image_that_is_not_as_locked_is_removed_and_gets_no_name(there: Images) -> None:
    there.served = {"registry/a:1": "sha256:" + "e" * 64}
    assert pull("registry/b:1", wanted("registry/a:1", **LOCKED), "registry/c:1") == {
        "pulled": ["registry/b:1"],
        "failed": {"reference": "registry/a:1", "error": "", "expected": DIGEST, "actual": "sha256:" + "e" * 64},
    }
    assert there.present == {"registry/b:1"}
    assert there.names == {}


def test_what_has_the_name_of_a_locked_image_without_being_it_is_pulled_again(there: Images) -> None:
    there.present = {"registry/x:1"}
    there.names = {LOCKED["image"]: "registry/x:1"}
    there.served = {"registry/x:1": "sha256:" + "e" * 64}
    assert pull(wanted("registry/a:1", **LOCKED)) == {"pulled": [LOCKED["image"]]}
    assert there.pulled == ["registry/a:1"]


def test_an_image_from_a_file_is_known_by_its_id(there: Images) -> None:
    there.present = there.loaded = {"registry/a:1"}
    there.names = {LOCKED["image"]: "registry/a:1"}
    assert pull(wanted("registry/a:1", **LOCKED, id=IDENTITY)) == {"pulled": [LOCKED["image"]]}
    assert there.pulled == []


@pytest.mark.parametrize("pin", [{}, {"id": "sha256:" + "2" * 64}])
def test_an_image_from_a_file_that_nothing_vouches_for_is_not_taken(there: Images, pin: dict[str, str]) -> None:
    there.present = there.loaded = {"registry/a:1"}
    there.names = {LOCKED["image"]: "registry/a:1"}
    answer = pull(wanted("registry/a:1", **LOCKED, **pin))
    assert answer["pulled"] == []
    assert answer["failed"]["expected"] == DIGEST
