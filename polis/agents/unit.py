"""What systemd and the shell are told about an agent: its unit, its preparation, and how its health is judged.

Everything that a manifest contributes was checked by `words`, so it stands here as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from polis.agents.manifest import AgentSpec, Security
    from polis.agents.reading import Agent

NAME = "polis-agent.service"
HOME = "/opt/agents"
KEYS = "/run/secrets/polis_agent_env"
"""Where Compose puts the agent's keys: a file that only root can read. systemd reads it before it changes the user."""

SETUP = "/usr/local/lib/polis/agent/setup.sh"
MARKERS = "/var/lib/polis-agent"
"""In the container's own file system, as is what `install` did: both are gone with the container."""

CA = "/usr/local/share/ca-certificates/polis-ca.crt"
TRUST = dict.fromkeys(("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), CA)
"""The gate answers for the world in the name of the workspace's authority; these programs ask no system store."""

WANTED = "[Unit]\nWants=polis-agent.service\n"
"""A drop-in of multi-user.target: nobody can run `systemctl enable` before the container is there."""

_SHELL_ESCAPES = str.maketrans({character: f"\\{character}" for character in '"\\$`'})


def unit(agent: Agent) -> str:
    """Return the systemd unit of an agent."""
    manifest, spec = agent.manifest, agent.manifest.spec
    runtime = spec.runtime
    lines = [
        "# Written by polis from the agent's manifest.",
        "[Unit]",
        f"Description={manifest.metadata.display_name}",
        "Wants=network-online.target",
        "Requires=polis-init.service",
        "After=network-online.target polis-init.service",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"User={runtime.user}",
        # "-": the directory may be one that the installation makes, for which systemd would look before. Then setup.sh
        # looks, after it.
        *([f"WorkingDirectory=-{runtime.workdir}"] if runtime.workdir else []),
        *[f'Environment="{name}={value}"' for name, value in sorted({**TRUST, **runtime.env}.items())],
        *([f"EnvironmentFile=-{runtime.env_file}"] if runtime.env_file else []),
        f"EnvironmentFile={KEYS}",
        f"ExecStartPre=+/bin/sh {SETUP}",
        *([f"ExecStartPre=+{HOME}/{agent.name}/{spec.init}"] if spec.init else []),
        f"ExecStart={runtime.command}",
        "Restart=always",
        "RestartSec=5",
        f"TimeoutStartSec={spec.health.start_period:.0f}",
        *_confinement(spec.security, _writable(spec)),
    ]
    return "\n".join(lines) + "\n"


def setup(agent: Agent) -> str:
    """Return the script that prepares an agent: owners of its volumes, and its installation, once for each content."""
    spec = agent.manifest.spec
    marker = f"{MARKERS}/{agent.name}"
    trust = " ".join(f"{name}={path}" for name, path in TRUST.items())
    lines = [
        "#!/bin/sh",
        "# Written by polis. Prepares the agent as root, each time before it starts.",
        "set -eu",
        "",
        *[f"chown {spec.runtime.user} {place.container_path}" for place in spec.persistence],
    ]
    if spec.install:
        lines += [
            f'if [ "$(cat {marker} 2>/dev/null)" != {agent.digest} ]; then',
            # Without the keys, of which an installation needs none.
            f'    env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 {trust} \\',
            f"        {HOME}/{agent.name}/{spec.install}",
            f"    mkdir -p {MARKERS}",
            f"    echo {agent.digest} >{marker}",
            "fi",
        ]
    if spec.runtime.workdir:
        words = f"the agent's working directory {spec.runtime.workdir} is not there"
        lines += [f'[ -d {spec.runtime.workdir} ] || {{ echo "{words}" >&2; exit 1; }}']
    return "\n".join(lines) + "\n"


def health(agent: Agent) -> str:
    """Return the script that ends with 0 when the agent is well; the workspace's health check ends with it."""
    seconds = f"{agent.manifest.spec.health.timeout:.0f}"
    return (
        "#!/bin/sh\n"
        "# Written by polis. The agent is well when its service runs and its own check says so.\n"
        "if command -v systemctl >/dev/null && ! systemctl --quiet is-active polis-agent.service; then\n"
        '    echo "the agent does not run"\n'
        "    exit 1\n"
        "fi\n"
        f"timeout {seconds} {agent.manifest.spec.health.command} || {{\n"
        '    echo "the agent is not well"\n'
        "    exit 1\n"
        "}\n"
    )


def environment(values: Mapping[str, str]) -> str:
    """Return variables so that systemd (EnvironmentFile=) and a shell read the same from them."""
    return "".join(f'{name}="{value.translate(_SHELL_ESCAPES)}"\n' for name, value in sorted(values.items()))


def _writable(spec: AgentSpec) -> tuple[str, ...]:
    kept = [place.container_path for place in spec.persistence]
    return tuple(dict.fromkeys([*spec.security.read_write_paths, *kept]))


def _confinement(security: Security, writable: Iterable[str]) -> list[str]:
    return [
        "NoNewPrivileges=true",
        f"ProtectSystem={_word(security.protect_system)}",
        f"ProtectHome={_word(security.protect_home)}",
        # "-": one that is not there yet must not keep the agent from starting.
        *[f"ReadWritePaths=-{path}" for path in writable],
        f"PrivateTmp={_word(security.private_tmp)}",
        *([f"MemoryMax={security.memory_max}"] if security.memory_max else []),
        *([f"CPUQuota={security.cpu_quota}"] if security.cpu_quota else []),
    ]


def _word(value: str | bool) -> str:  # noqa: FBT001 -- both are what YAML calls the same setting
    return value if isinstance(value, str) else str(value).lower()
