"""A command in a service's container: what the guest makes of it, with a made-up engine and a made-up `docker`."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from polis.guest import entering, shipping
from polis.guest.remote import engine

pytestmark = pytest.mark.processes

AWKWARD = [
    "run",
    "a b",
    "",
    "'",
    '"',
    "$HOME",
    "`id`",
    "*",
    "\n",
    "a\nb",
    "\\",
    "ü€😀",
    ";",
    "-it",
    "--",
    "\udcff",
    " ",
]

DOCKER = """#!/bin/sh
printf '%s\\0' "$@" > "$DOCKER_WORDS"
[ ! -t 0 ] || { printf terminal; exit 5; }
cat
echo err >&2
exit 3
"""


def container(service: str, state: str = "running", **labels: str) -> dict[str, Any]:
    return {"Id": f"id-{service}", "State": state, "Labels": {"com.docker.compose.service": service, **labels}}


@dataclass
class Guest:
    """A guest whose engine lists certain containers; commands arrive by its login shell, as they do over ssh."""

    root: Path

    def line(self, service: str, argv: list[str], listed: list[dict[str, Any]] | None) -> str:
        """Return the shell's line; without a list, the engine does not answer."""
        arguments = {"service": service, "argv": argv, "slip": str(self.root / "slip"), "refused": entering.REFUSED}
        words = shipping.command("enter", arguments)
        modules = 'sys.modules["polis.guest.remote.'
        said = f"json.loads({json.dumps(listed)!r})"
        engine_answers = f'{modules}engine"].Engine.listed = lambda self: {said}\n'
        engine_is_away = f'{modules}engine"].Engine.__init__.__defaults__ = ("/no/socket", 1.0)\n'
        begin = f'sys.exit({modules}main"]'
        code = words[5].replace(begin, (engine_is_away if listed is None else engine_answers) + begin)
        assert code != words[5]
        return shlex.join([sys.executable, *words[3:5], code, *words[6:]])

    def enter(
        self, service: str, argv: list[str], listed: list[dict[str, Any]] | None, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        line = self.line(service, argv, listed)
        return subprocess.run(
            ["bash", "-c", line], input=stdin, capture_output=True, check=False, env=self.environment, timeout=60
        )

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.root}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "LC_ALL": "C.UTF-8", "DOCKER_WORDS": str(self.root / "words")}

    @property
    def words(self) -> list[str]:
        """Return what `docker` was told."""
        return os.fsdecode((self.root / "words").read_bytes()).split("\0")[:-1]

    @property
    def refusal(self) -> Any:
        return json.loads((self.root / "slip").read_text())


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    return Guest(tmp_path)


def test_words_streams_and_exit_code_arrive_as_they_are(guest: Guest) -> None:
    data = bytes(range(256)) * 300
    done = guest.enter("gate", AWKWARD, [container("state"), container("gate")], stdin=data)
    assert (done.returncode, done.stdout, done.stderr) == (3, data, b"err\n")
    assert guest.words == ["exec", "--interactive", "id-gate", *AWKWARD]
    assert not (guest.root / "slip").exists()


def test_a_terminal_is_asked_for_on_a_terminal_only(guest: Guest) -> None:
    ours, theirs = pty.openpty()
    line = guest.line("gate", ["sh"], [container("gate")])
    done = subprocess.run(
        ["bash", "-c", line], stdin=theirs, stdout=theirs, check=False, env=guest.environment, timeout=60
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 5
    assert guest.words[:4] == ["exec", "--interactive", "--tty", "id-gate"]


def test_without_words_a_shell_is_opened_bash_where_there_is_one(guest: Guest, tmp_path: Path) -> None:
    guest.enter("gate", [], [container("gate")])
    shell = guest.words[3:]
    only_sh = tmp_path / "container"
    only_sh.mkdir()
    (only_sh / "sh").symlink_to("/bin/sh")
    for there in ("sh", "bash"):
        if there == "bash":
            (only_sh / "bash").symlink_to("/bin/bash")
        done = subprocess.run(
            [str(only_sh / shell[0]), *shell[1:]],
            input=b'echo "${BASH_VERSION:-none}"',
            capture_output=True,
            check=True,
            env={"PATH": str(only_sh)},
        )
        assert (done.stdout == b"none\n") == (there == "sh")


@pytest.mark.parametrize(
    "listed",
    [
        [container("gate", "exited"), container("state")],
        [container("gate", "paused"), container("state")],
        [container("gate", "exited"), container("gate", "running", **{"com.docker.compose.oneoff": "True"})],
    ],
)
def test_a_service_that_does_not_run_is_refused_and_nothing_is_printed(
    guest: Guest, listed: list[dict[str, Any]]
) -> None:
    done = guest.enter("gate", ["true"], listed, stdin=b"x")
    assert (done.returncode, done.stdout, done.stderr) == (entering.REFUSED, b"", b"")
    states = {each["name"]: each["state"] for each in guest.refusal["services"]}
    assert states["gate"] == listed[0]["State"]
    assert (guest.root / "slip").stat().st_mode & 0o777 == 0o600
    assert not (guest.root / "words").exists()


def test_an_engine_that_does_not_answer_is_a_reason_too(guest: Guest) -> None:
    done = guest.enter("gate", ["true"], None)
    assert done.returncode == entering.REFUSED
    assert "does not answer" in guest.refusal["error"]


def test_the_reason_is_handed_over_once(guest: Guest) -> None:
    guest.enter("gate", ["true"], None)
    words = shipping.command("refusal", {"slip": str(guest.root / "slip")})
    told = [
        json.loads(subprocess.run([sys.executable, *words[3:]], capture_output=True, check=True).stdout)["answer"]
        for _ in range(2)
    ]
    assert list(told[0]["refusal"]) == ["error"]
    assert told[1] == {"refusal": None}


def test_only_the_project_s_containers_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.Engine, "get", lambda self, path, **query: [(path, query)])
    ((path, query),) = cast("list[Any]", engine.Engine().listed())
    assert path == "/containers/json"
    assert (query["all"], json.loads(query["filters"])) == ("1", {"label": ["com.docker.compose.project=polis"]})
