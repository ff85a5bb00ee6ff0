"""What holds for every command: help with examples that are right, a variable for each option, a manual."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from polis import cli
from polis.cli import manual, variables
from polis.cli.examples import EXAMPLES
from polis.cli.globals import hoist
from polis.config import Spec
from polis.config_sources import OTHER_VARIABLES
from polis.errors import ExitCode

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"

Found = tuple[tuple[str, ...], Any]


def root_context() -> Any:
    root = typer.main.get_command(cli.build())
    return root.context_class(root, info_name="polis", resilient_parsing=True)


def contexts(context: Any = None) -> Iterator[Found]:
    """Return every command, with the words that lead to it."""
    context = context or root_context()
    yield variables.command_path(context), context
    for name, command in getattr(context.command, "commands", {}).items():
        if not command.hidden:
            yield from contexts(command.context_class(command, info_name=name, parent=context, resilient_parsing=True))


def options() -> Iterator[tuple[tuple[str, ...], Any]]:
    for path, context in contexts():
        for param in context.command.get_params(context):
            if param.param_type_name == "option":
                yield path, param


def parse(words: list[str]) -> Any:
    """Return the context of the command that the words name. Raises what the parser raises."""
    hoisted = hoist(words)
    command: Any = typer.main.get_command(cli.build())
    context = command.make_context("polis", hoisted)
    while hasattr(context.command, "commands"):
        name, below, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
        context = below.make_context(name, rest, parent=context)
    return context


def words_of(example: str) -> list[str]:
    """Return what polis gets of a line for a shell."""
    words = shlex.split(example, comments=True)
    while "=" in words[0]:
        words.pop(0)
    assert words[0] == "polis", example
    ends = [at for at, word in enumerate(words) if word in ("<", ">", "|", "&&")]
    return words[1 : ends[0] if ends else None]


@pytest.mark.parametrize(("path", "example"), [(path, line) for path, lines in EXAMPLES.items() for line in lines])
def test_every_example_is_one_that_the_parser_takes(path: str, example: str) -> None:
    assert path.partition(" ")[0] in {"", *cli.COMMANDS}
    reached = " ".join(variables.command_path(parse(words_of(example))))
    assert reached
    if path and path not in ("agent", "bundle", "config", "cloud-init", "fleet"):
        assert reached == path


def test_every_command_shows_one_to_three_examples_in_its_help() -> None:
    missing = []
    for path, context in contexts():
        name = " ".join(path)
        text = context.get_help()
        lines = EXAMPLES.get(name, ())
        if not 1 <= len(lines) <= 3:
            missing.append(name)
        for line in lines:
            assert f"  {line}" in text.splitlines(), name
    assert not missing


def test_help_texts_are_sentences() -> None:
    for path, context in contexts():
        assert re.match(r"[A-Z].*[.]$", (context.command.help or "").strip(), re.DOTALL), path
        for param in context.command.get_params(context):
            if param.param_type_name == "option" and "--help" not in param.opts:
                assert param.help, (path, param.opts)
                assert param.help[0].isupper(), (path, param.opts)


def test_every_option_has_a_variable_or_a_reason_for_having_none() -> None:
    seen: dict[str, str] = {}
    for path, param in options():
        name = variables.long_name(param.opts)
        variable = variables.variable(path, name)
        if variable is None:
            continue
        where = "" if name in variables.SHARED | variables.KEYS else " ".join(path)
        if path[:1] == ("fleet",) and name in variables.OF_ALL_FLEETS:
            where = "fleet"
        assert seen.setdefault(variable, where) == where, f"{variable} means two things"
        key = variable.removeprefix("POLIS_").lower()
        if variables.is_read_by_parser(name):
            assert param.envvar == variable
            assert key not in Spec.model_fields, f"{variable} is a key of the configuration"
        else:
            assert param.envvar is None, f"{variable} is read twice"
            assert key in Spec.model_fields or key == "config"
            assert f"[env var: {variable}]" in param.help


DESTROYING = {"--recreate", "--adopt", "--all", "--replace", "--fix", "--force", "--no-agent", "--write", "--output"}
ENDLESS = {"--watch", "--follow"}


def test_nothing_that_destroys_or_never_ends_is_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for path, param in options():
        name = variables.long_name(param.opts)
        if name in DESTROYING | ENDLESS:
            assert variables.variable(path, name) is None, (path, name)
    for variable in ("POLIS_DELETE_ALL", "POLIS_ALL", "POLIS_UP_RECREATE", "POLIS_RECREATE"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("POLIS_RESET_TO", "absent")
    assert parse(["delete"]).params["everything"] is False
    assert parse(["up"]).params["recreate"] is False
    assert parse(["reset"]).params["to"] is None


def test_the_reference_names_every_option_without_a_variable() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    section = text[text.index("## Variables") : text.index("## `completion SHELL`")]
    for name in variables.NOT_INHERITED:
        assert f"{name.split(' ')[-1]}`" in section, name


def test_no_exception_is_for_an_option_that_is_not_there() -> None:
    known = {" ".join(("polis", *path, variables.long_name(param.opts))) for path, param in options()}
    for name in variables.NOT_INHERITED:
        assert name in known or name == "--help", name


def test_no_variable_of_an_option_is_taken_for_a_slip_of_the_pen(monkeypatch: pytest.MonkeyPatch) -> None:
    from polis import config_sources

    for path, param in options():
        variable = variables.variable(path, variables.long_name(param.opts))
        if variable is not None:
            config_sources.from_environment({variable: ""}, tuple(Spec.model_fields))
    for name in OTHER_VARIABLES:
        config_sources.from_environment({name: ""}, tuple(Spec.model_fields))


def run(*words: str, **environ: str) -> Any:
    return CliRunner().invoke(cli.build(), list(words), prog_name="polis", env=environ)


def test_variables_stand_for_options() -> None:
    assert json.loads(run("version", POLIS_JSON="1").stdout)["schema"] == 1
    assert run("version", POLIS_JSON="").stdout.startswith("polis ")
    assert run("status", POLIS_STATUS_CHECK="yes").exit_code == 3
    assert run("status", POLIS_NAME="a_b").exit_code == 78
    assert json.loads(run("--json", "status", POLIS_NAME="other").stdout)["workspace"] == "other"
    assert run("version", NO_COLOR="anything").exit_code == 0
    assert run("version", POLIS_VERSION="v2").stdout.startswith("polis "), "the images' version is no flag"
    bad = run("version", POLIS_JSON="perhaps")
    assert bad.exit_code == 2
    assert "POLIS_JSON" in bad.stderr


def test_an_option_wins_over_its_variable() -> None:
    result = run("--json", "-n", "one", "status", POLIS_NAME="two")
    assert json.loads(result.stdout)["workspace"] == "one"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("POLIS_MEMROY", "POLIS_MEMORY"), ("POLIS_DRIVERS", "POLIS_DRIVER"), ("POLIS_JSN", "POLIS_JSON")],
)
def test_a_slip_in_a_variable_is_named_and_not_passed_over(name: str, meant: str) -> None:
    result = run("status", **{name: "x"})
    assert result.exit_code == 78
    assert name in result.stderr
    assert f"`{meant}`" in result.stderr


def test_a_variable_of_another_program_is_left_alone() -> None:
    assert run("status", POLIS_X="1", POLIS_FAKE_MULTIPASS="1").exit_code == 0


@pytest.mark.parametrize(
    "typed",
    [
        "nonsense",
        "reset --to nowhere",
        "up --nonsense",
        "fleet up --nonsense",
        "agent",
        "agent nonsense",
        "completion csh",
        "exec",
        "",
    ],
)
def test_what_the_parser_refuses_is_one_document_with_json(typed: str) -> None:
    plain = CliRunner().invoke(cli.build(), typed.split(), prog_name="polis")
    assert plain.exit_code == 2
    assert "Usage: polis" in plain.output
    result = CliRunner().invoke(cli.build(), ["--json", *typed.split()], prog_name="polis")
    document = json.loads(result.stdout)
    assert result.exit_code == document["exit_code"] == 2
    assert result.stderr == ""
    assert document["error"]["kind"] == "usage"
    assert document["error"]["message"]
    assert ("event" in document) == typed.startswith(("up", "reset", "fleet up"))


def test_exit_codes_are_those_of_the_errors() -> None:
    result = run("--json", "exit-codes")
    rows = {row["name"]: row for row in json.loads(result.stdout)["exit_codes"]}
    assert len(rows) == len(ExitCode)
    assert rows["transient"]["retryable"] is True
    assert {name for name, row in rows.items() if row["retryable"]} == {"transient"}
    assert "registry-unavailable" in rows["transient"]["kinds"]
    assert rows["ok"]["kinds"] == []
    assert all(row["meaning"] for row in rows.values())
    assert len(run("exit-codes").stdout.splitlines()) == len(ExitCode)


def test_the_manual_names_every_command_option_variable_and_exit_code() -> None:
    text = manual.page()
    plain = re.sub(r"\\\[u([0-9A-F]{4})\]", lambda match: chr(int(match[1], 16)), text).replace("\\-", "-")
    for path, context in contexts():
        if path and not hasattr(context.command, "commands"):
            assert f'.SS "polis {" ".join(path)} ' in plain
    for _, param in options():
        assert variables.long_name(param.opts) in plain
        if isinstance(param.envvar, str):
            assert param.envvar in plain
    for code in ExitCode:
        assert f"\\fB{int(code)}\\fR" in plain
    assert text.isascii()


def test_no_text_is_taken_for_a_request_of_roff() -> None:
    known = (".TH", ".SH", ".SS", ".TP", ".PP", ".nf", ".fi", ".RS", ".RE", ".B ", ".nh", ".ad")
    for line in manual.page().splitlines():
        assert not line.startswith("'"), line
        assert not line.startswith(".") or line.startswith(known), line
    assert manual._text(".so /etc/passwd\n'x \\n[") == "\\&.so /etc/passwd\n\\(aqx \\en["


def test_the_manual_is_a_document_with_json() -> None:
    assert json.loads(run("--json", "manual").stdout)["roff"] == manual.page()
