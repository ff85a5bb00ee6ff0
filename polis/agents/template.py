"""A new agent to begin with: it can be added as it is, and does nothing but stay alive."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from polis.config_agent import AGENT_NAME
from polis.errors import HostUnsuitable, UsageError

if TYPE_CHECKING:
    from pathlib import Path

_MANIFEST = """\
apiVersion: polis.dev/v1
kind: AgentPlugin

metadata:
  name: {name}
  displayName: {name}
  version: "0.1.0"
  description: what it does, in one line

spec:
  packaging: script

  # Runs as root, once for each content of this directory: packages, downloads. It sees no keys.
  install: install.sh
  # Runs as root before each start.
  init: init.sh

  runtime:
    # Words with single blanks between, no shell: what needs more goes into a script.
    command: /opt/agents/{name}/run.sh
    workdir: /var/lib/{name}
    user: polis
    env:
      EXAMPLE: a setting that is no secret

  # The workspace is healthy only while this ends with 0.
  health:
    command: /opt/agents/{name}/health.sh
    interval: 30s
    timeout: 10s
    retries: 3
    startPeriod: 120s

  # Directories that outlive the container. The agent's user owns them.
  persistence:
    - name: data
      containerPath: /var/lib/{name}

  # Variables that it may be given. They are taken from the environment of `polis up` or from --env-file.
  # requirements:
  #   envOneOf: [EXAMPLE_API_KEY]
  #   envOptional: [EXAMPLE_REGION]

  # ports:
  #   - container: 9000
  #     hostEnv: EXAMPLE_PORT
  #     default: 9000

  # resources:
  #   memoryLimit: 2G
"""
_SCRIPTS = {
    "install.sh": "set -eu\n\n# Nothing to install yet.\n",
    "init.sh": "set -eu\n\n# Nothing to prepare yet.\n",
    "run.sh": 'set -eu\n\necho "{name}: started"\nwhile :; do\n    date >alive\n    sleep 10\ndone\n',
    "health.sh": "# Alive as long as it has written within the last minute.\n"
    'set -eu\n\n[ -n "$(find /var/lib/{name}/alive -mmin -1)" ]\n',
}


def files(name: str) -> dict[str, str]:
    """Return the text of each file of a new agent."""
    scripts = {path: "#!/bin/sh\n" + text.replace("{name}", name) for path, text in _SCRIPTS.items()}
    return {"agent.yaml": _MANIFEST.format(name=name), **scripts}


def write(name: str, parent: Path) -> Path:
    """Write a new agent to a directory of its name and return it.

    Raises UsageError if the name is none or the directory is there, HostUnsuitable if it cannot be written.
    """
    if not re.fullmatch(AGENT_NAME, name):
        raise UsageError(f"{name} is not a name for an agent", hint="use up to 40 small letters, digits and hyphens")
    target = parent / name
    try:
        target.mkdir(parents=True)
        for path, text in files(name).items():
            (target / path).write_text(text, encoding="utf-8", newline="\n")
            if text.startswith("#!"):
                (target / path).chmod(0o755)
    except FileExistsError as error:
        raise UsageError(f"{target} is there already", remains="it, as it was") from error
    except OSError as error:
        raise HostUnsuitable(f"{target} cannot be written", cause=error.strerror or str(error)) from error
    return target
