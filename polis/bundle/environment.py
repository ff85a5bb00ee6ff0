"""The variables of the bundle's Compose file: everything that changes from release to release."""

from __future__ import annotations

IMAGES = ("resolver", "certgen", "gate", "sentinel", "scanner", "state", "toolbox", "workspace", "init")
"""The nine images of a release; each is `${POLIS_REGISTRY}/polis-<image>${POLIS_IMAGE_SUFFIX}:<version>`."""


def variables(*, version: str, registry: str, image_suffix: str) -> dict[str, str]:
    """Return the content of the bundle's `.env`."""
    versions = {f"POLIS_{image.upper()}_VERSION": version for image in IMAGES}
    return {"POLIS_REGISTRY": registry, "POLIS_IMAGE_SUFFIX": image_suffix, **versions}
