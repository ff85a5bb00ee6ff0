"""What `polis logs` shows: no secret, though its process has read none before, and nothing of another's VM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from polis import assembly, paths, redaction
from polis.agents import choice
from polis.errors import DriverMissing, GuestUnreachable
from polis.vault import Vault
from tests import typed
from tests.simulated import SimulatedDriver

SOURCES = ("--service gate", "--guest", "--console", "--polis", "--phase launched", "")
FOREIGN = ("--service gate", "--guest", "--console", "")


class Terminal(typed.Terminal):
    """Types commands, each in a process that has not read any secret yet."""

    def type(self, line: str, **environ: str) -> Result:
        redaction._hidden.clear()
        return super().type(line, **environ)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setattr(redaction, "_hidden", set())
    return Terminal(driver)


@pytest.fixture
def secrets(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put secrets of each kind into what is logged everywhere."""
    (tmp_path / "keys.env").write_text("FILED=filed-value-12345\n")
    (tmp_path / "polis.yaml").write_text("env: {PLAIN: plain-value-12345}\nenv_file: keys.env\n")
    assert terminal.type("up").exit_code == 0
    monkeypatch.setenv("SOME_API_KEY", "typed-value-12345")
    choice.save(paths.find().secrets("polis"), choice.Kept(None, {"probe": {"PROBE_KEY": "agent-value-12345"}}))
    kept = Vault(paths.find().secrets("polis")).read()
    assert kept is not None
    found = [f"{kind}-value-12345" for kind in ("filed", "plain", "typed", "agent")]
    found += [*kept.passwords.values(), kept.authority.key.splitlines()[1]]
    lines = [f"said {each}" for each in found]
    terminal.driver.printed = {"services": lines, "gate": lines, "guest": lines, "cloud-init": lines}
    terminal.driver.console = tmp_path / "console.log"
    terminal.driver.console.write_text("".join(f"said {each}\n" for each in found))
    with (paths.find().workspace("polis") / "polis.log").open("a") as file:
        file.writelines(json.dumps({"event": "warning", "message": f"said {each}"}) + "\n" for each in found)
    return found


@pytest.mark.parametrize("more", ["", "--json"])
@pytest.mark.parametrize("source", SOURCES)
def test_no_secret_is_shown_from_any_source(terminal: Terminal, secrets: list[str], source: str, more: str) -> None:
    result = terminal.type(f"logs {source} {more}")
    assert result.exit_code == 0, result.output
    assert [secret for secret in secrets if secret in result.output] == []
    assert result.stdout.count(f"said {redaction.STRUCK}") >= len(secrets)


@pytest.mark.parametrize("more", ["-f", "-f --json"])
@pytest.mark.parametrize("source", ["--service gate", "--guest", ""])
def test_none_is_shown_of_what_is_added(terminal: Terminal, secrets: list[str], source: str, more: str) -> None:
    result = terminal.type(f"logs {source} {more}")
    assert [secret for secret in secrets if secret in result.output] == []
    assert result.stdout.count(redaction.STRUCK) == len(secrets)


@pytest.mark.parametrize("stamps", [True, False])
@pytest.mark.parametrize("source", FOREIGN)
def test_nothing_is_shown_of_a_vm_that_is_somebody_else_s(
    terminal: Terminal, secrets: list[str], source: str, stamps: bool
) -> None:
    terminal.driver.stamps = stamps
    with terminal.driver.change() as machine:
        machine["owner"] = "somebody-else"
        machine["marker"] = {**machine["marker"], "id": "somebody-else"}
    result = terminal.type(f"logs {source}")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "this workspace did not create it" in result.stderr


def test_what_polis_did_is_shown_all_the_same(terminal: Terminal, secrets: list[str]) -> None:
    with terminal.driver.change() as machine:
        machine["owner"] = "somebody-else"
    result = terminal.type("logs --phase launched")
    assert result.exit_code == 0
    assert "launched: phase.started" in result.stdout
    assert "---" not in result.stdout
    assert "cannot be had" in result.stderr


def test_a_vm_without_a_record_is_asked_whose_it_is(terminal: Terminal) -> None:
    terminal.type("up")
    other = paths.find().workspace("polis")
    other.rename(other.with_name("away"))
    terminal.driver.printed = {"guest": ["mine"]}
    assert terminal.type("logs --guest").stdout == "mine\n"
    with terminal.driver.change() as machine:
        machine["marker"] = {**machine["marker"], "workspace": "another"}
    assert terminal.type("logs --guest").exit_code == 4


def test_polis_s_own_log_needs_no_driver(terminal: Terminal) -> None:
    terminal.type("up")

    def interfere(_call: str, _moment: str) -> None:
        raise DriverMissing("multipass is not installed")

    terminal.driver.interfere = interfere
    result = terminal.type("logs --polis")
    assert (result.exit_code, "command.started" in result.stdout) == (0, True)
    assert terminal.type("logs --guest").exit_code == 69
    assert terminal.type("logs --polis -n nobody").exit_code == 69, "without a directory the driver has to say it"


def test_the_error_that_ends_following_is_a_line_too(terminal: Terminal) -> None:
    terminal.type("up")
    terminal.driver.printed = {"guest": ["one"]}

    def interfere(call: str, moment: str) -> None:
        if call == "exec:logs" and moment == "after":
            raise GuestUnreachable("the connection broke off")

    terminal.driver.interfere = interfere
    result = terminal.type("logs --guest -f --json")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert documents[-1]["exit_code"] == result.exit_code == 75
    assert len(terminal.type("logs --guest --json").stdout.splitlines()) > 1


def test_a_pipe_with_keys_is_left_to_whoever_places_them(terminal: Terminal, tmp_path: Path) -> None:
    import os

    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    terminal.type("up --to launched")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "polis.yaml").write_text("env_file: pipe\n")
    assert terminal.type("logs --polis").exit_code == 0
