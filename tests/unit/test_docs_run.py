"""What the documentation shows is run, page by page and in its order, on simulated machines; the tutorial also on a
real one (tests/e2e/containers/test_tutorial.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polis import assembly, cli
from polis.agents import template
from polis.cli.globals import command_of, hoist
from polis.phase import Phase
from tests.documents import TUTORIAL, Command, commands, pages
from tests.simulated.many import Machines

FLEET = """\
defaults: {cpus: 2}
members: [{name: gate, labels: {tier: back}}, {name: web, count: 3, labels: {tier: front}}]
"""

NOT_HERE = {
    "--config lab/": "the lab's own; .ci/run does it",
    "doctor": "looks at this machine, and at the network",
    "exec": "starts a client of the guest; the tutorial's test does",
    "bundle export": "needs a real guest's packages and images; tests/e2e/test_networks.py does it",
    "bundle lock": "needs a real guest's images; the same",
    "up --offline": "needs the file of a real guest; the same",
    "logs": "reads in a real guest; the tutorial's test does",
    "shell": "waits for somebody to type",
    "ssh-config": "needs a driver with SSH; tests/e2e/test_lifecycle.py does it",
    "support-bundle": "asks the host about itself; tests/unit/test_support.py does it",
    "update": "asks for releases; its own tests do it",
}
"""Commands that are not run on a simulated machine, and why."""

ENDS = {
    "polis reset --to absent": 2,  # nobody answers the question
    "polis fleet delete": 2,  # the same
    "polis delete": 2,
    "polis delete --all": 2,
    "polis up --recreate": 2,
    "polis agent": 2,  # the name of a group
    "polis config": 2,
    "polis fleet": 2,
    "polis st": 2,  # half of a word, where completion is measured
}
"""Where another exit code than 0 is right."""


def shown(page: Path) -> Iterator[Command]:
    """Yield what is run of a page: what its blocks show, and what its sentences name with nothing to fill in."""
    seen = set()
    for command in commands(page):
        words = " ".join(command.words[1:])
        if command.words[0] != "polis" or any(words.startswith(each) for each in NOT_HERE):
            continue
        to_fill = any(word.isupper() or "…" in word or "[" in word for word in command.words)
        if command.shown or (command.words not in seen and not to_fill):
            seen.add(command.words)
            yield command


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "driver", Machines(tmp_path / "machines"))
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    Path("fleet.yaml").write_text(FLEET, encoding="utf-8")
    Path("prepared").mkdir()
    for name in ("my-agent", "other"):
        made = template.write(name, Path("prepared"))
        if name == "my-agent":
            made.rename(name)


def run(command: Command) -> Any:
    words = hoist(list(command.words[1:]))
    result = CliRunner().invoke(cli.build(only=command_of(words)), words, prog_name="polis")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize(
    "page", [page for page in pages() if page != TUTORIAL and list(shown(page))], ids=lambda page: page.stem
)
def test_what_a_page_shows_runs(page: Path, world: None) -> None:
    run(Command("", 0, ("polis", "up", "-q"), shown=True))
    run(Command("", 0, ("polis", "agent", "add", "prepared/other"), shown=True))
    for command in shown(page):
        result = run(command)
        expected = ENDS.get(str(command), 0)
        assert result.exit_code == expected, f"{command.page}:{command.line}: {command}\n{result.output}"


def test_every_reason_is_for_a_command_that_is_shown() -> None:
    named = {" ".join(command.words[1:]) for page in pages() for command in commands(page)}
    for each in NOT_HERE:
        assert any(words.startswith(each) for words in named) or each == "update", each


def test_phases_named_in_the_tutorial_are_those_that_there_are() -> None:
    for command in commands(TUTORIAL):
        if "--to" in command.words:
            assert command.words[command.words.index("--to") + 1] in set(Phase)
