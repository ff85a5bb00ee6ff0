"""The variables of the bundle's Compose file: everything that changes from release to release."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polis.config_site import ProxySpec

IMAGES = ("resolver", "certgen", "gate", "sentinel", "scanner", "state", "toolbox", "workspace", "init")
"""The nine images of a release; each is `${POLIS_REGISTRY}/polis-<image>${POLIS_IMAGE_SUFFIX}:<version>`."""


def in_words(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of variables as people know them: all versions together are the configuration's `version`."""
    found, versions = set(names), {_version(image) for image in IMAGES}
    return tuple(sorted(found - versions | {"version"} if versions <= found else found))


def variables(*, version: str, registry: str, image_suffix: str, proxy: ProxySpec | None = None) -> dict[str, str]:
    """Return the content of the bundle's `.env`; the proxies' variables are empty where there is none."""
    versions = {_version(image): version for image in IMAGES}
    set_ones = dict(proxy.variables if proxy else ())
    proxies = {f"POLIS_{name.upper()}_PROXY": set_ones.get(name, "") for name in ("http", "https", "no")}
    return {"POLIS_REGISTRY": registry, "POLIS_IMAGE_SUFFIX": image_suffix, **versions, **proxies}


def _version(image: str) -> str:
    return f"POLIS_{image.upper()}_VERSION"
