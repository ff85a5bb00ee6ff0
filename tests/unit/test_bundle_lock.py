"""`polis bundle lock`, `polis delete --all`: typed by a user, on a simulated guest."""

from __future__ import annotations

from pathlib import Path

import pytest

from polis import config, events, paths
from polis.errors import ChangesPending, NotFound
from polis.guest.report import GuestReport
from polis.phase import Phase
from polis.workspace import UpOptions, Workspace
from tests.simulated import SimulatedDriver

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def open_(tmp_path: Path) -> Workspace:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    return Workspace(config.Spec(), paths.find(), events.Stream(), driver)


def test_without_a_workspace_there_is_nothing_to_lock(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_(tmp_path).images()


def test_before_all_images_are_there_it_is_not_known_what_they_are(tmp_path: Path) -> None:
    open_(tmp_path).up(UpOptions(target=Phase.CONFIGURED))
    with pytest.raises(ChangesPending, match="not all images"):
        open_(tmp_path).images()


def report(**image: object) -> GuestReport:
    service = {"name": "gate", "one_shot": False, "config_hash": "h", "reference": "r.example/me/polis-gate:v1"}
    return GuestReport.model_validate(
        {
            "boot_id": "b",
            "cloud_init": {"finished": True},
            "expected": [{**service, "image": service["reference"], **image.pop("service", {})}],  # type: ignore[dict-item]
            "images": [{"reference": service["reference"], "id": OTHER, **image}],
        }
    )


def test_the_digest_is_that_of_the_image_s_own_repository() -> None:
    digests = [f"elsewhere/polis-gate@{OTHER}", f"r.example/me/polis-gate@{DIGEST}"]
    assert report(digests=digests).pins() == {"r.example/me/polis-gate:v1": {"digest": DIGEST, "id": OTHER}}


def test_an_image_from_a_file_has_the_digest_that_was_locked() -> None:
    pinned = {"digest": DIGEST, "id": OTHER}
    assert report(service=pinned).pins() == {"r.example/me/polis-gate:v1": {"digest": DIGEST, "id": OTHER}}
    assert report().pins() == {}
