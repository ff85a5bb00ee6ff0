"""All secrets of a workspace that this host keeps or was given, learnt before anything of it is shown or sent."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from polis.errors import PolisError
from polis.scrubbing import hide_all, hide_files, hide_keys, hide_logins

if TYPE_CHECKING:
    from polis.config import Spec
    from polis.paths import Paths


def learn(name: str, paths: Paths, spec: Spec | None) -> None:
    """Let these be struck out of all that this process says from now on; without a `spec`, what is known without it."""
    from polis.config_agent import looks_secret

    hide_files(paths.secrets(name))
    hide_keys(paths.data / "qemu" / name)
    hide_all(value for variable, value in os.environ.items() if looks_secret(variable))
    for value in os.environ.values():
        hide_logins(value)
    if spec is None:
        return
    hide_all(spec.env.values())
    hide_logins(spec.model_dump_json())
    if spec.env_file is not None and spec.env_file.is_file():  # a pipe is read once, by whoever places its keys
        from polis.agents import envfile

        with contextlib.suppress(PolisError):
            hide_all(envfile.read(spec.env_file).values())
