"""What is written for an agent: its unit, its scripts, its part of the Compose file."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from polis.agents import overlay, reading, unit
from polis.agents.reading import Agent
from polis.bundle.archive import DEFAULT
from tests import agents


def read(tmp_path: Path, changes: dict[str, Any] | None = None) -> Agent:
    return reading.read(agents.write(tmp_path / "agent", changes))


def lines(agent: Agent) -> list[str]:
    return unit.unit(agent).splitlines()


def compose(agent: Agent) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(overlay.overlay(agent))
    return document


def workspace(agent: Agent) -> dict[str, Any]:
    service: dict[str, Any] = compose(agent)["services"]["workspace"]
    return service


def test_the_unit_runs_the_command_as_the_user_and_keeps_it_running(tmp_path: Path) -> None:
    found = lines(read(tmp_path, {"spec.runtime.workdir": "/app"}))
    for line in (
        "Description=Probe",
        "User=polis",
        "WorkingDirectory=-/app",
        "ExecStart=/usr/bin/probe --listen 0.0.0.0:9000",
        "Restart=always",
        "TimeoutStartSec=120",
    ):
        assert found.count(line) == 1, line


def test_the_way_out_is_there_before_the_agent(tmp_path: Path) -> None:
    found = lines(read(tmp_path))
    assert "Requires=polis-init.service" in found
    assert "After=network-online.target polis-init.service" in found


def test_installation_and_init_come_before_the_command_and_as_root(tmp_path: Path) -> None:
    started = [line for line in lines(read(tmp_path)) if line.startswith("Exec")]
    assert started == [
        "ExecStartPre=+/bin/sh /usr/local/lib/polis/agent/setup.sh",
        "ExecStartPre=+/opt/agents/probe/scripts/init.sh",
        "ExecStart=/usr/bin/probe --listen 0.0.0.0:9000",
    ]


def test_keys_win_over_the_agents_own_file_and_both_over_nothing(tmp_path: Path) -> None:
    runtime = {
        "spec.runtime.envFile": "/home/polis/.env",
        "spec.runtime.env": {"B": "2 3", "A": "--x=1", "SSL_CERT_FILE": "/etc/own.pem"},
    }
    found = [line for line in lines(read(tmp_path, runtime)) if line.startswith("Environment")]
    assert found == [
        'Environment="A=--x=1"',
        'Environment="B=2 3"',
        *[f'Environment="{name}={unit.CA}"' for name in ("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE")],
        'Environment="SSL_CERT_FILE=/etc/own.pem"',
        "EnvironmentFile=-/home/polis/.env",
        "EnvironmentFile=/run/secrets/polis_agent_env",
    ]


def test_the_agent_is_confined_as_the_manifest_says_and_by_default(tmp_path: Path) -> None:
    usual = lines(read(tmp_path / "a"))
    for line in ("NoNewPrivileges=true", "ProtectSystem=strict", "ProtectHome=read-only", "PrivateTmp=true"):
        assert line in usual
    security = {"protectSystem": True, "protectHome": False, "memoryMax": "1G", "cpuQuota": "50%", "privateTmp": False}
    said = lines(read(tmp_path / "b", {"spec.security": security}))
    for line in ("ProtectSystem=true", "ProtectHome=false", "PrivateTmp=false", f"MemoryMax={1 << 30}", "CPUQuota=50%"):
        assert line in said


def test_what_is_kept_is_writable_and_the_agents_own(tmp_path: Path) -> None:
    agent = read(tmp_path, {"spec.security": {"readWritePaths": ["/app/cache", "/home/polis/.probe"]}})
    writable = [line for line in lines(agent) if line.startswith("ReadWritePaths")]
    assert writable == ["ReadWritePaths=-/app/cache", "ReadWritePaths=-/home/polis/.probe"]
    assert "chown polis /home/polis/.probe" in unit.setup(agent).splitlines()


def test_an_installation_is_for_one_content_and_sees_no_keys(tmp_path: Path) -> None:
    agent = read(tmp_path)
    script = unit.setup(agent)
    assert f"!= {agent.digest} ]" in script
    (installing,) = [line for line in script.replace("\\\n", "").splitlines() if "install.sh" in line]
    assert installing.split()[0:2] == ["env", "-i"]
    assert "SSL_CERT_FILE=/usr/local/share/ca-certificates/polis-ca.crt" in installing
    assert script.index("install.sh") < script.index(f"echo {agent.digest} >")
    assert "install" not in unit.setup(read(tmp_path / "none", {"spec.install": None}))


def test_health_is_the_agents_own_check_with_its_time(tmp_path: Path) -> None:
    script = unit.health(read(tmp_path, {"spec.health.timeout": "7s"}))
    assert "timeout 7 curl -sf http://127.0.0.1:9000/health ||" in script
    assert "is-active polis-agent.service" in script


def test_the_workspace_asks_for_the_agents_health() -> None:
    assert "/etc/polis/agent-health" in (DEFAULT / "health" / "workspace.sh").read_text()


@pytest.mark.processes
def test_a_shell_reads_from_the_file_with_keys_what_was_written(tmp_path: Path) -> None:
    values = {
        "A": "plain",
        "B": "a b  c",
        "C": 'it\'s "quoted"',
        "D": "$HOME `id` $(id)",
        "E": "\\ \\\\ \\$",
        "F": "żółw #x",
    }
    (tmp_path / "env").write_text(unit.environment(values))
    words = [f'"${name}"' for name in values]
    script = f". {tmp_path}/env; printf '%s\\n' {' '.join(words)}"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == list(values.values())


def test_escapes_in_the_file_with_keys() -> None:
    assert unit.environment({"B": 'a"b\\c$d`e', "A": "x y'z"}) == 'A="x y\'z"\nB="a\\"b\\\\c\\$d\\`e"\n'


# ── Compose ──────────────────────────────────────────────────────────────────


def test_the_overlay_changes_the_workspace_alone(tmp_path: Path) -> None:
    document = compose(read(tmp_path))
    assert set(document) == {"services", "secrets", "volumes"}
    assert set(document["services"]) == {"workspace"}


def test_the_same_agent_has_the_same_overlay(tmp_path: Path) -> None:
    assert overlay.overlay(read(tmp_path / "a")) == overlay.overlay(read(tmp_path / "b"))


def test_files_are_mounted_read_only_from_beside_the_bundle(tmp_path: Path) -> None:
    binds = [mount for mount in workspace(read(tmp_path))["volumes"] if mount["type"] == "bind"]
    assert {mount["target"]: mount["source"] for mount in binds} == {
        "/opt/agents/probe": "./.polis/agent/files",
        "/etc/systemd/system/polis-agent.service": "./.polis/agent/polis-agent.service",
        "/etc/systemd/system/multi-user.target.d/polis-agent.conf": "./.polis/agent/wanted.conf",
        "/usr/local/lib/polis/agent/setup.sh": "./.polis/agent/setup.sh",
        "/etc/polis/agent-health": "./.polis/agent/health.sh",
    }
    assert all(mount["read_only"] and not mount["bind"]["create_host_path"] for mount in binds)


def test_keys_are_a_secret_and_no_environment(tmp_path: Path) -> None:
    document = compose(read(tmp_path))
    assert document["secrets"] == {"polis_agent_env": {"file": "./.polis/agent/env"}}
    assert workspace(read(tmp_path))["secrets"] == ["polis_agent_env"]
    assert "environment" not in workspace(read(tmp_path))
    assert "env_file" not in workspace(read(tmp_path))


def test_directories_are_kept_in_volumes_of_the_agents_own(tmp_path: Path) -> None:
    agent = read(tmp_path)
    name = "polis-agent-probe-data"
    assert compose(agent)["volumes"] == {name: {"name": name}}
    assert {"type": "volume", "source": name, "target": "/home/polis/.probe"} in workspace(agent)["volumes"]
    assert "volumes" not in compose(read(tmp_path / "none", {"spec.persistence": None}))


def test_the_agents_patience_is_added_to_the_workspaces(tmp_path: Path) -> None:
    changes = {"spec.health.startPeriod": "15m", "spec.health.timeout": "20s", "spec.health.retries": 5}
    patient = workspace(read(tmp_path / "a", changes))["healthcheck"]
    assert patient == {"interval": "30s", "timeout": "35s", "retries": 5, "start_period": "900s"}
    assert workspace(read(tmp_path / "b", {"spec.health.startPeriod": "1s"}))["healthcheck"]["start_period"] == "180s"


def test_memory_is_what_the_manifest_says_or_the_stacks_own(tmp_path: Path) -> None:
    limits = {"spec.resources": {"memoryLimit": "6G", "memoryReservation": "1G"}}
    service = workspace(read(tmp_path / "a", limits))
    assert (service["mem_limit"], service["mem_reservation"]) == (6 << 30, 1 << 30)
    assert "mem_limit" not in workspace(read(tmp_path / "b"))


@pytest.mark.parametrize("text", ["overlay", "unit", "setup", "health"])
def test_nothing_that_is_written_has_a_variable_that_compose_would_fill_in(tmp_path: Path, text: str) -> None:
    if text == "overlay":
        assert b"$" not in overlay.overlay(read(tmp_path))
    elif text == "unit":
        assert "%" not in unit.unit(read(tmp_path))
    else:
        assert "${" not in getattr(unit, text)(read(tmp_path))
