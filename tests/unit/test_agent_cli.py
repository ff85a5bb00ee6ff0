"""`polis agent`, and what `up`, `plan`, `status` and `delete` do with an agent, on a simulated guest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from polis import assembly, paths
from polis.agents import choice
from tests import agents
from tests.agents import KEY
from tests.simulated import SimulatedDriver
from tests.typed import Terminal


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    for name in ("PROBE_KEY", "OTHER_KEY", "REGION", "PROBE_PORT"):
        monkeypatch.delenv(name, raising=False)
    return Terminal(driver)


@pytest.fixture
def probe(terminal: Terminal, tmp_path: Path) -> Path:
    """An installed agent's directory."""
    path = agents.write(tmp_path / "probe")
    terminal.succeed(f"agent add {path}")
    return path


def test_an_agent_goes_the_whole_way(terminal: Terminal, tmp_path: Path) -> None:
    assert "polis agent add" in terminal.succeed("agent list")
    assert "polis agent add mine" in terminal.succeed("agent new mine")
    assert "polis up --agent mine" in terminal.succeed("agent add mine")
    assert terminal.succeed("agent list").startswith("mine ")
    assert "/opt/agents/mine/run.sh as polis" in terminal.succeed("agent show mine")
    assert "is removed" in terminal.succeed("agent remove mine")
    assert "there is no agent" in terminal.succeed("agent list")


def test_every_command_has_a_document(terminal: Terminal, probe: Path) -> None:
    added = terminal.document(f"agent add {probe} --json")
    assert (added["schema"], added["added"], added["agent"]["name"]) == (1, False, "probe")
    assert added["agent"]["digest"].startswith("sha256:")
    assert terminal.document("agent list --json")["agents"] == [
        {"name": "probe", "version": "1.0.0", "description": "probes", "workspaces": [], "problem": None}
    ]
    shown = terminal.document("agent show probe --json")["agent"]
    assert shown["variables"][0] == {"name": "PROBE_KEY", "needed": "one-of"}
    assert shown["variables"][2] == {"name": "REGION", "needed": "optional"}
    assert shown["spec"]["runtime"]["user"] == "polis"
    assert terminal.document("agent remove probe --json") == {"schema": 1, "removed": "probe", "workspaces": []}
    assert terminal.document("agent new mine --json")["path"].endswith("/mine")


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("agent show nobody", 4, "there is no agent nobody"),
        ("agent remove nobody", 4, "there is no agent nobody"),
        ("agent add nowhere", 78, "nowhere"),
        ("agent new Bad_Name", 2, "not a name"),
        ("agent new probe", 2, "is there already"),
        ("up --agent nobody", 4, "there is no agent nobody"),
        ("up --agent probe", 78, "one of PROBE_KEY, OTHER_KEY"),
        ("plan --agent probe", 78, "one of PROBE_KEY, OTHER_KEY"),
        ("up --agent Bad_Name", 78, "--agent"),
        ("up --agent probe --no-agent", 2, "contradict"),
        ("up --agent probe --env-file nowhere", 78, "nowhere cannot be read"),
    ],
)
def test_failures_have_their_exit_code_and_change_nothing(
    terminal: Terminal, probe: Path, line: str, code: int, words: str
) -> None:
    result = terminal.type(line)
    assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert terminal.driver.find(name="polis") is None
    assert not (paths.find().config / "workspaces").exists()
    assert not (paths.find().config / "secrets").exists()


def test_an_invalid_manifest_is_told_with_file_line_and_column(terminal: Terminal, tmp_path: Path) -> None:
    agents.write(tmp_path / "bad", {"spec.runtime.user": "root"})
    result = terminal.type(f"agent add {tmp_path}/bad")
    assert result.exit_code == 78
    assert f"{tmp_path}/bad/agent.yaml:16:4: `spec.runtime.user`: an agent must not run as root" in result.stderr


def test_another_content_needs_replace(terminal: Terminal, probe: Path) -> None:
    agents.write(probe, {"metadata.version": "2.0.0"})
    result = terminal.type(f"agent add {probe}")
    assert (result.exit_code, "--replace" in result.stderr) == (2, True)
    assert "2.0.0 is installed" in terminal.succeed(f"agent add {probe} --replace")


def test_a_damaged_agent_spoils_its_own_row_only(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("agent new mine")
    terminal.succeed("agent add mine")
    (paths.find().config / "agents" / "probe" / "agent.tar").write_bytes(b"damaged")
    rows = terminal.document("agent list --json")["agents"]
    assert [(row["name"], row["problem"] is None) for row in rows] == [("mine", True), ("probe", False)]
    assert terminal.type("agent show probe").exit_code == 78


# ── in a workspace ───────────────────────────────────────────────────────────


def test_up_takes_the_key_from_the_environment_and_a_plain_up_keeps_it(terminal: Terminal, probe: Path) -> None:
    first = terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    assert "the agent probe is given PROBE_KEY from the environment" in first
    again = terminal.type("up --json")
    assert again.exit_code == 0
    assert "phase.completed" not in again.stdout
    terminal.succeed("stop")
    terminal.succeed("up")
    assert choice.load(paths.find().secrets("polis")).agent == "probe"


def test_no_key_is_ever_shown(terminal: Terminal, probe: Path) -> None:
    said = [
        terminal.succeed("up -v --agent probe --json", PROBE_KEY=KEY),
        *(terminal.succeed(line) for line in ("status --json", "agent show probe", "agent show probe --json", "plan")),
        *(terminal.succeed(line) for line in ("history --json", "agent list --json", "up -v")),
    ]
    assert KEY not in "".join(said)
    elsewhere = [path for path in paths.find().config.rglob("*") if path.is_file() and path.name != choice.FILE]
    assert elsewhere
    assert not [path for path in elsewhere if KEY.encode() in path.read_bytes()]


def test_show_tells_which_names_are_set_in_which_workspace(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    assert terminal.document("agent show probe --json")["agent"]["workspaces"] == [
        {"name": "polis", "set": ["PROBE_KEY"]}
    ]
    assert "polis: PROBE_KEY" in terminal.succeed("agent show probe")


def test_another_key_or_agent_enters_only_what_it_touches(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    for line, environ in (
        ("up --json", {"PROBE_KEY": "sk-another-key"}),
        ("up --json --no-agent", {}),
        ("up --json --agent probe", {}),
    ):
        events = [json.loads(text) for text in terminal.type(line, **environ).stdout.splitlines()]
        entered = [event["phase"] for event in events if event["event"] == "phase.started"]
        assert entered[0] == "configured", (line, events)
        assert events[-1]["outcome"] == "healthy"


def test_plan_and_status_write_nothing(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    before = (paths.find().secrets("polis") / choice.FILE).read_bytes()
    assert terminal.type("plan --check", PROBE_KEY="sk-another-key").exit_code == 3
    assert "agent" in terminal.succeed("status", PROBE_KEY="sk-another-key")
    assert terminal.type("plan --check --no-agent").exit_code == 3
    assert (paths.find().secrets("polis") / choice.FILE).read_bytes() == before


def test_plan_names_the_command_with_its_agent(terminal: Terminal, probe: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"PROBE_KEY={KEY}\n")
    (tmp_path / "keys").chmod(0o600)
    told = terminal.succeed("plan --agent probe --env-file keys")
    assert "next: polis up --env-file keys --agent probe" in told
    assert "next: polis up --no-agent" in terminal.succeed("plan --no-agent")


def test_an_agent_in_use_is_removed_only_with_yes(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    refused = terminal.type("agent remove probe")
    assert (refused.exit_code, "in use by polis" in refused.stderr) == (2, True)
    assert "next `polis up` needs" in terminal.succeed("agent remove probe -y")
    assert terminal.type("up").exit_code == 4
    assert "changed: agent" in terminal.succeed("status")
    terminal.succeed("up --no-agent")


def test_a_workspace_whose_agent_is_gone_can_be_deleted(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    terminal.succeed("agent remove probe -y")
    terminal.succeed("stop")
    terminal.succeed("reset")
    terminal.succeed("delete -y")


def test_agent_and_keys_outlive_delete_but_not_delete_all(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    terminal.succeed("delete -y")
    terminal.succeed("up")
    assert choice.load(paths.find().secrets("polis")).agent == "probe"
    terminal.succeed("delete --all -y")
    assert choice.load(paths.find().secrets("polis")) == choice.Kept()


def test_an_agent_of_the_configuration_is_taken_and_a_flag_wins(terminal: Terminal, probe: Path) -> None:
    Path("polis.yaml").write_text("agent: probe\n")
    assert terminal.type("up").exit_code == 78
    terminal.succeed("up --no-agent")
    terminal.succeed("up", PROBE_KEY=KEY)
    assert choice.load(paths.find().secrets("polis")).agent == "probe"
    assert terminal.type("up", POLIS_AGENT="nobody").exit_code == 4


def test_ssh_config_leads_to_the_agents_ports(terminal: Terminal, probe: Path) -> None:
    terminal.succeed("up --agent probe", PROBE_KEY=KEY, PROBE_PORT="19000")
    assert "  LocalForward 127.0.0.1:19000 10.10.1.100:9000" in terminal.succeed("ssh-config").splitlines()
    assert terminal.document("ssh-config --json")["forwards"] == [{"port": 19000, "to": "10.10.1.100:9000"}]
    terminal.succeed("up --no-agent")
    assert "LocalForward" not in terminal.succeed("ssh-config")


def test_status_tells_the_agent_and_the_names_of_what_it_is_given(terminal: Terminal, probe: Path) -> None:
    assert terminal.document("status --json")["agent"] is None
    terminal.succeed("up --agent probe", PROBE_KEY=KEY)
    assert terminal.document("status --json")["agent"] == {
        "name": "probe",
        "variables": ["PROBE_KEY"],
        "ports": [{"port": 9000, "to": "10.10.1.100:9000"}],
        "problem": None,
    }
    assert "agent      probe, given PROBE_KEY" in terminal.succeed("status").splitlines()
    terminal.succeed("agent remove probe -y")
    gone = terminal.document("status --json")["agent"]
    assert (gone["name"], gone["problem"]) == ("probe", "there is no agent probe")
