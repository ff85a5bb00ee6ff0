"""What is wanted where nothing is configured: the defaults that a look at a workspace needs, without the model library.

`polis.config` takes these values from here and holds the rules of all keys. Most people configure nothing, and `status`
sits in their prompts, where importing and building the models would take longer than all the rest.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from polis.config import Spec

FILE: Final = "polis.yaml"
NAME: Final = "polis"
NAME_PATTERN: Final = r"^[A-Za-z](?:[A-Za-z0-9-]*[A-Za-z0-9])?$"
"""Multipass' rule for instance names, which is also a safe file name and host name."""
NAME_LIMIT: Final = 63
"""Characters of a name."""
DRIVERS: Final = ("qemu", "multipass", "incus")
ACCEL: Final = "auto"
SNAPSHOTS: Final = False
TIMEOUT: Final = 900.0
"""Seconds for each phase."""

_NO_KEYS = ("POLIS_HOME", "POLIS_CONFIG")
"""Variables that set no key; POLIS_CONFIG names a file, and is looked at with the files."""


@dataclass(frozen=True)
class Retry:
    """How transient failures are tried again; times are seconds. The keys are explained in `polis.config`."""

    attempts: int = 6
    base: float = 2.0
    cap: float = 60.0
    deadline: float = 600.0
    silence: float = 90.0


RETRY: Final = Retry()


@dataclass(frozen=True)
class Defaults:
    """A Spec of nothing but defaults, name and driver; the models are built when it is asked for anything else."""

    name: str = NAME
    driver: str | None = None
    accel: ClassVar[str] = ACCEL
    timeout: ClassVar[float] = TIMEOUT
    retry: ClassVar[Retry] = RETRY
    agent: ClassVar[None] = None
    offline: ClassVar[None] = None
    snapshots: ClassVar[bool] = SNAPSHOTS

    def __getattr__(self, key: str) -> Any:
        """Return what the whole Spec says of any other key."""
        if key.startswith("__"):  # copy and pickle ask for these; a Spec's own would not fit
            raise AttributeError(key)
        return getattr(_whole(self.name, self.driver), key)


def unconfigured(
    flags: Mapping[str, Any], *, file: Path | None, user_directory: Path, environ: Mapping[str, str]
) -> Spec | None:
    """Return the Spec of a user who chose at most name and driver, or None if there is more to read or to refuse."""
    from polis import config_sources

    given = {key: value for key, value in flags.items() if value is not None}
    name, driver = given.pop("name", NAME), given.pop("driver", None)
    if given or any(key.startswith("POLIS_") and key not in _NO_KEYS for key in environ):
        return None
    acceptable = len(name) <= NAME_LIMIT and re.fullmatch(NAME_PATTERN.removesuffix("$"), name) is not None
    if not acceptable or driver not in (None, *DRIVERS):
        return None  # `polis.config` says why
    if config_sources.find(file, environ, user_directory) is not None:
        return None
    return cast("Spec", Defaults(name, driver))


@functools.cache
def _whole(name: str, driver: str | None) -> Spec:
    from polis.config import Spec

    return Spec.model_validate({"name": name, "driver": driver})
