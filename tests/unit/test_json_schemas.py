"""With --json, every command prints one document (or one event a line) that its schema in `schemas/` describes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import referencing
import typer

from polis import assembly, cli, lock, paths
from polis.doctor import machine, network
from polis.errors import (
    ConfigurationError,
    GuestUnreachable,
    HostUnsuitable,
    IntegrityError,
    Locked,
    NotFound,
    PolisError,
    ProvisioningFailed,
)
from tests import agents
from tests.simulated import SimulatedDriver
from tests.simulated.many import Machines
from tests.typed import Typist, through_the_entry
from tests.unit.test_doctor import GOOD

SCHEMAS = Path(__file__).parents[2] / "schemas"

STREAMS = ("up", "start", "reset", "bundle export", "fleet up", "fleet stop", "fleet reset", "fleet delete")
"""Commands that print an event a line, the last of which is the result."""

WITHOUT = {
    "exec": "stdout is the guest's",
    "shell": "the terminal is the guest's",
    "completion": "prints a script",
    "manual": "prints a page for man",
    "config schema": "prints a JSON Schema already",
}
"""Commands without a document for scripts, and why. Their failures have one all the same."""

SCHEMA_OF = {"start": "events", "up": "events", "reset": "events"}
SCHEMA_OF |= {f"fleet {name}": "fleet-events" for name in ("up", "stop", "reset", "delete")}
"""Schemas that are not called as their command is."""


def schema_of(command: str) -> str:
    return SCHEMA_OF.get(command, command.replace(" ", "-"))


def registry() -> referencing.Registry[Any]:
    documents = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    resources = {name: referencing.Resource.from_contents(content) for name, content in documents.items()}
    return referencing.Registry[Any]().with_resources(resources.items())


def validate(value: object, name: str) -> None:
    schema = json.loads((SCHEMAS / f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema, registry=registry()).validate(value)


def commands() -> Iterator[str]:
    """All commands by their words, those of groups too."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[str]:
        inner = getattr(command, "commands", None)
        if inner is None:
            yield " ".join(words)
            return
        for name, each in inner.items():
            yield from walk(each, (*words, name))

    yield from walk(typer.main.get_command(cli.build()), ())


ALL = sorted(commands())


@pytest.fixture
def typist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typist:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setattr(machine, "Facts", lambda: GOOD)
    monkeypatch.setattr(network, "places", lambda *_: [])
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    return Typist(driver)


def check_failure(command: str, stdout: str, code: int) -> dict[str, Any]:
    """Return the error of the one document that a failed command prints."""
    if command in STREAMS:
        lines = [json.loads(line) for line in stdout.splitlines()]
        for line in lines:
            validate(line, "fleet-events" if command.startswith("fleet ") else "events")
        assert [line["event"] for line in lines].count("result") == 1
        answer = lines[-1]
        assert (answer["event"], answer["outcome"]) == ("result", "failed")
    else:
        answer = json.loads(stdout)
        validate(answer, "error")
    assert answer["exit_code"] == code
    error: dict[str, Any] = answer["error"]
    return error


# ---- the schemas


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_every_schema_is_one_and_lets_keys_be_added(path: Path) -> None:
    schema = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == path.name
    assert '"additionalProperties": false' not in path.read_text()


@pytest.mark.parametrize("command", ALL)
def test_every_command_has_a_schema_or_a_reason_for_none(command: str) -> None:
    has = (SCHEMAS / f"{schema_of(command)}.json").exists()
    assert has != (command in WITHOUT), f"write schemas/{schema_of(command)}.json, or say in WITHOUT why there is none"


def test_there_is_no_schema_of_what_is_no_command() -> None:
    known = {schema_of(command) for command in ALL} | {"common", "error", "history-plot"}
    assert {path.stem for path in SCHEMAS.glob("*.json")} <= known


# ---- success

AFTER_UP = [
    "status", "plan", "history", "list", "version", "exit-codes", "doctor", "ssh-config", "cloud-init show",
    "cloud-init check", "agent list", "agent show probe", "agent add probe", "agent new mine", "agent remove probe",
    "stop", "delete -y", "bundle lock", "config show", "config path", "config init",
    "graph", "logs", "logs --polis", "history --plot up.svg",
    pytest.param("support-bundle bundle.tar.gz", marks=pytest.mark.processes),  # Python asks `uname` for the processor
]  # fmt: skip
"""What is typed on a healthy workspace."""


@pytest.fixture
def healthy(typist: Typist, tmp_path: Path) -> Typist:
    agents.write(tmp_path / "probe")
    assert typist.type("agent add probe").code == 0
    assert typist.type("-q up").code == 0
    return typist


@pytest.mark.parametrize("line", AFTER_UP)
def test_a_command_on_a_healthy_workspace_prints_one_document(healthy: Typist, line: str) -> None:
    answer = healthy.type(f"{line} --json")
    assert (answer.code, answer.stderr) == (0, "")
    command = next(name for name in sorted(ALL, key=len, reverse=True) if f"{line} ".startswith(f"{name} "))
    validate(json.loads(answer.stdout), "history-plot" if "--plot" in line else schema_of(command))


@pytest.mark.parametrize("line", ["status", "plan", "list", "history", "doctor"])
def test_a_reading_command_without_a_workspace_does_too(typist: Typist, line: str) -> None:
    answer = typist.type(f"{line} --json")
    value = json.loads(answer.stdout)
    validate(value, "error" if "error" in value else line)


@pytest.mark.parametrize("condition", ["stopped", "failed", "drifted"])
def test_so_does_a_status_of_what_is_not_well(healthy: Typist, condition: str) -> None:
    if condition == "stopped":
        healthy.type("stop")
    elif condition == "drifted":
        healthy.driver.failing = {"aslr": "0"}
    else:
        healthy.type("reset --to configured")
        healthy.fail("exec:pull", lambda: GuestUnreachable("no answer"))
        healthy.type("up")
        healthy.mend()
    for command in ("status", "plan", "history"):
        validate(json.loads(healthy.type(f"{command} --json").stdout), command)
    answer = healthy.type("status --check --json")
    assert answer.code in (0, 3)
    validate(json.loads(answer.stdout), "status")


@pytest.mark.parametrize("line", ["up", "start", "reset", "reset --to absent -y"])
def test_a_stream_is_one_event_a_line_and_ends_with_one_result(healthy: Typist, line: str) -> None:
    answer = healthy.type(f"{line} --json")
    assert (answer.code, answer.stderr) == (0, "")
    lines = [json.loads(each) for each in answer.stdout.splitlines()]
    for each in lines:
        validate(each, "events")
    assert [each["event"] for each in lines].index("result") == len(lines) - 1


def test_a_first_up_tells_nothing_that_is_in_no_schema(typist: Typist) -> None:
    typist.driver.refuse_pull = {"gate": "received unexpected HTTP status: 503 Service Unavailable"}
    lines = [json.loads(each) for each in typist.type("up --json").stdout.splitlines()]
    known = {rule["properties"]["event"].get("const") for rule in _events().values()}
    assert {each["event"] for each in lines} <= known
    assert {"phase.retry", "phase.failed", "result"} <= {each["event"] for each in lines}
    for each in lines:
        validate(each, "events")


def _events() -> dict[str, Any]:
    defs: dict[str, Any] = json.loads((SCHEMAS / "events.json").read_text())["$defs"]
    return defs


# ---- fleets


@pytest.fixture
def fleet(typist: Typist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typist:
    monkeypatch.setattr(assembly, "driver", Machines(tmp_path / "machines"))
    Path("fleet.yaml").write_text("members: [{name: one}, {name: web, count: 2, labels: {tier: front}}]\n")
    return typist


def test_a_fleets_commands_are_a_stream_of_its_members_events(fleet: Typist) -> None:
    for line in ("up", "reset", "stop", "up --max-unavailable 1", "delete -y"):
        answer = fleet.type(f"fleet {line} --json")
        assert (answer.code, answer.stderr) == (0, ""), line
        lines = [json.loads(each) for each in answer.stdout.splitlines()]
        for each in lines:
            validate(each, "fleet-events")
        assert [each["event"] for each in lines].index("result") == len(lines) - 1
        assert {each["member"] for each in lines[:-1]} == {"one", "web-1", "web-2"}
        assert sum(each["event"] == "member.result" for each in lines) == 3


def test_plan_and_status_of_a_fleet_are_one_document(fleet: Typist) -> None:
    for before in (None, "fleet up -q", "fleet stop -q"):
        if before:
            assert fleet.type(before).code == 0
        for name in ("plan", "status", "status --probe", "status --selector name=one"):
            answer = fleet.type(f"fleet {name} --json")
            assert (answer.code, answer.stderr) == (0, "")
            validate(json.loads(answer.stdout), f"fleet-{name.split()[0]}")


def test_a_member_that_failed_is_in_the_stream(fleet: Typist, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interfere(name: str, call: str, moment: str) -> None:
        if (name, call, moment) == ("web-1", "push", "before"):
            raise GuestUnreachable("no answer")

    monkeypatch.setattr(assembly, "driver", Machines(tmp_path / "machines", interfere=interfere))
    answer = fleet.type("fleet up --json")
    lines = [json.loads(each) for each in answer.stdout.splitlines()]
    for each in lines:
        validate(each, "fleet-events")
    assert answer.code == lines[-1]["exit_code"] == 75
    assert lines[-1]["failed"] == ["web-1"]
    for name in ("plan", "status"):
        validate(json.loads(fleet.type(f"fleet {name} --json").stdout), f"fleet-{name}")


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("up -f no.yaml", 78), ("up --selector x", 2), ("up --selector name=nobody", 4), ("up -n one", 2),
        ("up --max-unavailable 0", 2), ("up --max-unavailable 1 --to running", 2), ("up --recreate", 2),
        ("reset --to absent", 2), ("delete", 2), ("status -f no.yaml", 78), ("plan --selector phase=x", 2),
    ],
)  # fmt: skip
def test_what_a_user_of_a_fleet_can_cause_is_one_document(fleet: Typist, line: str, code: int) -> None:
    answer = fleet.type(f"--json fleet {line}")
    assert (answer.code, answer.stderr) == (code, "")
    assert check_failure(f"fleet {line.split(maxsplit=1)[0]}", answer.stdout, code)["hint"]


# ---- failure


@pytest.mark.parametrize("command", [name for name in ALL if name not in ("exec", "shell")])
def test_what_the_parser_refuses_is_one_document(typist: Typist, command: str) -> None:
    answer = typist.type(f"{command} --json --nonsense")
    assert (answer.code, answer.stderr) == (2, "")
    assert check_failure(command, answer.stdout, 2)["kind"] == "usage"


PROBLEMS: dict[int, Callable[[], BaseException]] = {
    4: lambda: NotFound("there is none"),
    5: lambda: Locked("another is at work"),
    69: lambda: HostUnsuitable("the disk is full"),
    70: lambda: ProvisioningFailed("it went wrong"),
    75: lambda: GuestUnreachable("no answer", cause="two\nlines"),
    77: lambda: IntegrityError("another digest"),
    78: lambda: ConfigurationError("not acceptable"),
    130: lambda: KeyboardInterrupt("SIGINT"),
    143: lambda: KeyboardInterrupt("SIGTERM"),
}

TOUCHING = ("up", "reset", "status", "plan", "stop", "delete -y", "bundle lock", "ssh-config", "graph")
"""Commands that look at the VM, so that all of this can happen to them."""


@pytest.mark.parametrize("line", TOUCHING)
def test_each_kind_of_failure_is_one_document_of_each_command(healthy: Typist, line: str) -> None:
    for code, problem in PROBLEMS.items():
        healthy.fail("find", problem)
        answer = healthy.type(f"{line} --json")
        assert (answer.code, answer.stderr) == (code, "")
        assert check_failure(line.removesuffix(" -y"), answer.stdout, code)["message"]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("status --config no.yaml", 78), ("delete", 2), ("-n a_b up", 78), ("-n a_b plan", 78),
        ("agent show nobody", 4), ("agent remove nobody", 4), ("agent add nowhere", 78), ("agent new Bad_Name", 2),
        ("-n other reset", 4), ("-n other stop", 4), ("-n other history", 4), ("-n other bundle lock", 4),
        ("-n other ssh-config", 4), ("-n other exec true", 4), ("-n other shell", 4), ("exec --service none true", 4),
        ("-n other bundle export file", 4), ("cloud-init check --cloud-init nowhere", 78), ("reset --to absent", 2),
    ],
)  # fmt: skip
def test_what_a_user_can_cause_is_one_document(healthy: Typist, line: str, code: int) -> None:
    answer = healthy.type(f"--json {line}")
    assert (answer.code, answer.stderr) == (code, "")
    command = next(name for name in sorted(ALL, key=len, reverse=True) if f" {name} " in f" {line} ")
    assert check_failure(command, answer.stdout, code)["hint"]


def test_a_workspace_at_work_is_one_document_of_each_changing_command(healthy: Typist) -> None:
    with lock.hold(paths.find().workspace("polis"), "up"):
        for line in ("up", "reset", "stop", "delete -y"):
            answer = healthy.type(f"{line} --json")
            assert (answer.code, answer.stderr) == (5, "")
            check_failure(line.removesuffix(" -y"), answer.stdout, 5)


def test_so_is_a_bug(healthy: Typist, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    healthy.fail("find", lambda: KeyError("a bug"))
    for line in TOUCHING:
        answer = through_the_entry(f"{line} --json", monkeypatch, capsys)
        assert answer.code == 1
        assert "-vv" in answer.stderr, "people see it too"
        assert check_failure(line.removesuffix(" -y"), answer.stdout, 1)["kind"] == "internal"


def test_a_bug_is_told_to_scripts_that_ask_by_a_variable(
    healthy: Typist, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLIS_JSON", "1")
    healthy.fail("find", lambda: KeyError("a bug"))
    check_failure("status", through_the_entry("status", monkeypatch, capsys).stdout, 1)


def test_without_json_a_bug_is_told_to_people_only(
    healthy: Typist, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    healthy.fail("find", lambda: KeyError("a bug"))
    answer = through_the_entry("status", monkeypatch, capsys)
    assert (answer.code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("error: internal error: KeyError")


def test_every_exit_code_of_an_error_is_provoked_here() -> None:
    def kinds(kind: type[PolisError]) -> Iterator[type[PolisError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from kinds(each)

    codes = {int(kind.exit_code) for kind in kinds(PolisError) if kind.__module__ == "polis.errors"}
    assert codes == {1, 2, 3, *PROBLEMS}
