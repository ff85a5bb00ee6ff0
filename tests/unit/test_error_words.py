"""The four parts of an error, read as a new user would: is the next command right, and does typing it work?"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._click.exceptions import ClickException, NoArgsIsHelpError

from polis import assembly, cli, lock, paths
from polis.cli.globals import hoist
from polis.errors import ExitCode, GuestUnreachable, HostUnsuitable, IntegrityError
from tests.simulated import SimulatedDriver
from tests.typed import Answer, Typist, through_the_entry

ROOT = Path(__file__).parents[2] / "polis"

AGAIN = re.compile(r"run (the|this|the same) command again|then run the command again|correct it|find out why")
"""A hint that names no command: the one that was typed, after something was mended."""


@pytest.fixture
def typist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typist:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    return Typist(driver)


# ---- the parser's opinion


@functools.cache
def _parser() -> Any:
    return typer.main.get_command(cli.build())


def refusal(line: str) -> str:
    """Return why the parser refuses a command line, or nothing. What is missing at its end is left to the reader."""
    words = hoist(line.split()[1:])
    command: Any = _parser()
    context: Any = None
    try:
        while True:
            context = command.make_context(command.name, list(words), parent=context)
            if not hasattr(command, "commands"):
                return ""
            words = [*context._protected_args, *context.args]
            if not words:
                return ""
            _, command, words = command.resolve_command(context, words)
    except (typer.Exit, NoArgsIsHelpError):
        return ""  # --help, --version; a group by itself
    except ClickException as problem:
        said = problem.format_message()
        return "" if said.startswith("Missing") else said


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("polis", ""), ("polis up", ""), ("polis -n other up --to running", ""), ("polis bundle export", ""),
        ("polis exec sudo ls -l", ""), ("polis up --help", ""), ("polis bundle", ""),
        ("polis --driver qemu delete", ""),
        ("polis upp", "No such command"), ("polis up --nonsense", "No such option"), ("polis up --to x", "Invalid"),
        ("polis agent ad", "No such command"),
    ],
)  # fmt: skip
def test_the_parser_is_asked_rightly(line: str, words: str) -> None:
    said = refusal(line)
    assert words in said
    assert bool(said) == bool(words)


# ---- what stands in the source

GAP = "X"
"""Stands for what is only known when the words are told."""


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """All strings of a module but docstrings, with their lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            silent |= {id(each) for each in ast.walk(node.value)} if isinstance(node.value, ast.Constant) else set()
        elif isinstance(node, ast.JoinedStr):
            silent |= {id(each) for each in node.values}
            parts = [str(each.value) if isinstance(each, ast.Constant) else GAP for each in node.values]
            yield node.lineno, "".join(parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.lineno, node.value


def named_commands() -> list[tuple[str, str]]:
    """Every command line in backticks, with its place."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        for line, text in texts(path):
            place = f"{path.relative_to(ROOT)}:{line}"
            found += [(quoted, place) for quoted in re.findall(r"`(polis(?: [^`]*)?)`", text)]
    for path in sorted(ROOT.rglob("checks.toml")):
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            place = f"{path.relative_to(ROOT)}:{number}"
            found += [(mend, place) for mend in re.findall(r"^mend = \"(polis [^,\"]+)", text)]
    return found


def test_no_text_names_a_command_or_option_that_there_is_not() -> None:
    named = named_commands()
    assert len(named) > 40, "the search must not fail silently"
    wrong = [f"{place}: `{line}`: {said}" for line, place in named if (said := _refusal_of_words(line))]
    assert not wrong, "\n" + "\n".join(wrong)


def _refusal_of_words(line: str) -> str:
    said = refusal(line.replace("…", ""))
    unknown = GAP in line.split() and (said.startswith("Invalid") or f"'{GAP}'" in said)
    return "" if unknown else said


# ---- one error of each exit code


def parts(answer: Answer) -> dict[str, str]:
    """Return the four parts of the error on stderr."""
    lines = answer.stderr[answer.stderr.index("error: ") :].splitlines()
    found = {"message": lines[0].removeprefix("error: ")}
    found["cause"] = "\n".join(line.removeprefix("  | ") for line in lines if line.startswith("  | "))
    for label, key in (("still there: ", "remains"), ("next: ", "hint")):
        found[key] = "".join(line.removeprefix(label) for line in lines if line.startswith(label))
    assert len([line for line in lines if line.startswith("error: ")]) == 1, "told once"
    return found


def healthy(typist: Typist) -> Typist:
    assert typist.type("-q up").code == 0
    return typist


def missing_image(typist: Typist) -> Answer:
    typist.driver.refuse_pull = {"gate": "manifest unknown"}
    return typist.type("up")


def outage(typist: Typist) -> Answer:
    typist.driver.refuse_pull = {"gate": "received unexpected HTTP status: 503 Service Unavailable"}
    return typist.type("up")


def another_image(typist: Typist) -> Answer:
    healthy(typist)
    Path("polis.yaml").write_text(f"image: {{location: /x.img, sha256: {'a' * 64}}}\n", encoding="utf-8")
    return typist.type("up")


def at_work(typist: Typist) -> Answer:
    healthy(typist)
    with lock.hold(paths.find().workspace("polis"), "up"):
        return typist.type("stop")


def misspelt(typist: Typist) -> Answer:
    Path("polis.yaml").write_text("memori: 8G\n", encoding="utf-8")
    return typist.type("up")


def failing(call: str, problem: BaseException) -> Any:
    def provoke(typist: Typist) -> Answer:
        typist.fail(call, lambda: problem)
        return typist.type("up")

    return provoke


CASES: dict[str, tuple[int, Any, str]] = {
    "not confirmed": (2, lambda typist: healthy(typist).type("delete"), "add --yes"),
    "another image": (3, another_image, "`polis up --recreate`"),
    "no workspace": (4, lambda typist: typist.type("stop"), "`polis up`"),
    "at work": (5, at_work, "--wait"),
    "host": (69, failing("launch", HostUnsuitable("the disk is full")), "run the command again"),
    "image": (70, missing_image, ""),
    "outage": (75, outage, "`polis up`"),
    "guest": (75, failing("launch", GuestUnreachable("no answer")), "run the command again"),
    "integrity": (77, failing("launch", IntegrityError("another digest")), "find out why"),
    "configuration": (78, misspelt, "correct it"),
    "interrupted": (130, failing("launch", KeyboardInterrupt("SIGINT")), "`polis up`"),
    "terminated": (143, failing("launch", KeyboardInterrupt("SIGTERM")), "`polis up`"),
}
"""How each exit code is provoked, and what the next command has to be."""


@pytest.mark.parametrize("case", CASES)
def test_an_error_says_what_to_type_next_and_the_parser_agrees(typist: Typist, case: str) -> None:
    code, provoke, expected = CASES[case]
    answer = provoke(typist)
    assert answer.code == code, answer.stderr
    told = parts(answer)
    assert told["message"]
    assert expected in told["hint"]
    named = re.findall(r"`(polis[^`]*)`", told["hint"])
    assert named or AGAIN.search(told["hint"]) or "--" in told["hint"], told["hint"]
    assert [said for line in named if (said := refusal(line))] == []


def test_every_exit_code_has_a_case() -> None:
    told_elsewhere = {ExitCode.OK, ExitCode.BUG, ExitCode.READER_GONE}
    assert {code for code, _, _ in CASES.values()} == {int(code) for code in set(ExitCode) - told_elsewhere}


@pytest.mark.parametrize(
    ("case", "then"),
    [
        ("another image", "up --recreate -y"),
        ("outage", "up"),
        ("guest", "up"),
        ("interrupted", "up"),
        ("terminated", "up"),
    ],
)
def test_typing_what_it_says_works(typist: Typist, case: str, then: str) -> None:
    _, provoke, _ = CASES[case]
    provoke(typist)
    typist.mend()
    typist.driver.refuse_pull = {}
    assert typist.type(f"-q {then}").code == 0
    assert typist.type("status --check").code == 0


def test_a_bug_is_told_in_two_lines(
    typist: Typist, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typist.fail("find", lambda: KeyError("a bug"))
    answer = through_the_entry("status", monkeypatch, capsys)
    assert answer.code == ExitCode.BUG
    assert answer.stderr.startswith("error: internal error: KeyError")
    assert "-vv" in answer.stderr
    assert "Traceback" not in answer.stderr
