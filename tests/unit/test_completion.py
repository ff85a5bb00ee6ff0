"""`polis completion`, and what is offered for the word under the cursor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from polis import cli, defaults
from polis.bundle import archive
from polis.cli import completers, completing
from polis.cli.completion import SCRIPTS, Shell
from polis.config import CATALOG


def offered(*words: str) -> list[str]:
    return [offer.value for offer in completing.answer(words).offers]


@pytest.fixture
def some(home: Path) -> None:
    for name in ("polis", "other", "pair"):
        (home / "config" / "workspaces" / name).mkdir(parents=True)
    (home / "config" / "agents" / "beacon").mkdir(parents=True)
    (home / "config" / "agents" / "beacon" / "agent.tar").touch()


def test_every_command_is_offered_and_no_other_name_of_one() -> None:
    assert offered("") == [name for name in cli.COMMANDS if name != "start"]
    assert offered("sta") == ["status"]
    assert offered("agent", "") == ["add", "list", "show", "remove", "new"]
    assert "show" in offered("-n", "other", "config", "s")


@pytest.mark.usefixtures("some")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["status", "-n", ""], ["other", "pair", "polis"]),
        (["-n", "p"], ["pair", "polis"]),
        (["up", "--name=o"], ["--name=other"]),
        (["up", "--to", "im"], ["images-pulled"]),
        (["reset", "--to=h"], ["--to=healthy"]),
        (["plan", "--to", "l"], ["launched"]),
        (["up", "--driver", ""], list(defaults.DRIVERS)),
        (["up", "--agent", ""], ["beacon"]),
        (["agent", "show", ""], ["beacon"]),
        (["agent", "show", "beacon", ""], []),
        (["agent", "new", ""], []),
        (["up", "--js"], ["--json"]),
        (["up", "--json", "--recr"], ["--recreate"]),
        (["completion", "f"], ["fish"]),
        (["exec", "--service", "g"], ["gate"]),
        (["shell", "--service", "work"], ["workspace"]),
        (["stop", "--wait", "--js"], ["--json"]),
        (["up", "--image", ""], ["24.04"]),
    ],
)
def test_values_are_offered_where_they_belong(words: list[str], expected: list[str]) -> None:
    assert offered(*words) == expected


@pytest.mark.parametrize("words", [["exec", "ls", "-"], ["exec", "ls", ""], ["nonsense", ""], ["up", "--", "--js"]])
def test_words_that_are_not_polis_s_own_are_left_alone(words: list[str]) -> None:
    assert completing.answer(words) == completing.Answer()


@pytest.mark.parametrize(
    ("words", "files"),
    [
        (["--config", ""], True), (["up", "--bundle=b"], True), (["agent", "add", ""], True),
        (["up", "--image", "x"], True), (["up", "--to", ""], False), (["status", "-n", ""], False),
        (["bundle", "export", ""], True), (["up", ""], False),
    ],
)  # fmt: skip
def test_files_are_offered_where_files_belong(words: list[str], files: bool) -> None:
    assert completing.answer(words).files is files
    assert completing.answer(words).lines[-1] == (":files" if files else ":none")


def test_bash_breaks_words_at_the_equals_sign() -> None:
    assert completing.joined(["up", "--to", "=", "hea"]) == ["up", "--to=hea"]
    assert completing.joined(["up", "--to", "="]) == ["up", "--to="]
    assert completing.joined(["exec", "a", "=", "b"]) == ["exec", "a", "=", "b"]


def test_the_value_alone_replaces_the_word_of_bash(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["up", "--to", "=", "hea"], ["up", "--to", "=", ""], ["up", "--to", "="]):
        completing.main("bash", words)
        assert "healthy" in capsys.readouterr().out.splitlines()


def test_powershell_passes_the_word_apart(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_POLIS_COMPLETE_WORD", "hea")
    completing.main("powershell", ["up", "--to"])
    assert capsys.readouterr().out.splitlines() == ["healthy", ":none"]


def test_a_directory_that_is_no_workspace_cannot_steer_the_terminal(home: Path) -> None:
    (home / "config" / "workspaces" / "a\x1b[2J").mkdir(parents=True)
    (home / "config" / "workspaces" / "b c").mkdir()
    assert offered("-n", "") == []


def test_descriptions_are_one_bearable_line() -> None:
    for words in ([""], ["up", "--"], ["agent", ""], ["history", "--"]):
        for offer in completing.answer(words).offers:
            assert offer.text
            assert offer.text.isprintable()
            assert len(offer.text) <= completing.LIMIT


def test_what_is_known_by_name_is_what_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuple(CATALOG) == completers.IMAGES
    compose = YAML(typ="safe", pure=True).load((archive.DEFAULT / archive.COMPOSE_FILE).read_text())
    assert completers.services("") == [name for name in compose["services"] if name in completers.services("")]
    assert {"gate", "workspace"} <= set(completers.services(""))
    (tmp_path / "docker-compose.yml").write_text(
        "x: 1\nservices:\n  # ours\n  one: {}\n  two:\n    image: a\nnetworks:\n  no:\n"
    )
    monkeypatch.setenv("POLIS_BUNDLE", str(tmp_path))
    assert completers.services("") == ["two"]
    monkeypatch.setenv("POLIS_BUNDLE", str(tmp_path / "nowhere"))
    assert completers.services("") == []


@pytest.mark.parametrize("shell", SCRIPTS)
def test_the_script_is_printed_and_told_to_scripts(shell: Shell) -> None:
    typed = CliRunner().invoke(cli.build(only="completion"), ["completion", shell.value], prog_name="polis")
    assert typed.exit_code == 0
    assert typed.stdout == SCRIPTS[shell]
    as_json = CliRunner().invoke(cli.build(only="completion"), ["--json", "completion", shell], prog_name="polis")
    assert json.loads(as_json.stdout) == {"schema": 1, "shell": str(shell), "script": typed.stdout}


HEAVY = ("pydantic", "rich", "ruamel", "structlog", "cryptography", "psutil", "transitions", "ssl", "asyncio")


@pytest.mark.processes
def test_completing_imports_nothing_heavy(home: Path) -> None:
    program = (
        "import sys; sys.argv = ['polis', 'up', '--agent', '']\n"
        "from polis.__main__ import main\nmain()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environ = {**os.environ, "_POLIS_COMPLETE": "zsh", "POLIS_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == [":none", "[]"]


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="bash")
def test_bash_fills_in_the_word(tmp_path: Path) -> None:
    (tmp_path / "polis").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m polis "$@"\n')
    (tmp_path / "polis").chmod(0o755)
    (tmp_path / "script").write_text(SCRIPTS[Shell.BASH])
    line = (
        "source ./script\n"
        'COMP_WORDS=(./polis up --to im); COMP_CWORD=3; _polis ./polis im --to; echo "${COMPREPLY[@]}"\n'
        'COMP_WORDS=(./polis up --to = ru); COMP_CWORD=4; _polis ./polis ru =; echo "${COMPREPLY[@]}"\n'
        'touch a.yaml; COMP_WORDS=(./polis --config a); COMP_CWORD=2; _polis ./polis a --config; echo "${COMPREPLY[@]}"'
    )
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        ["bash", "--norc", "-c", line],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["images-pulled", "running", "a.yaml"]
