"""The command line: parsing, exit codes, JSON, errors in four parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from polis import assembly, cli
from polis.cli.globals import command_of, hoist
from polis.cli.output import printable
from polis.cloudinit import document
from polis.drivers.base import InstanceKind
from polis.guest.entering import REFUSED
from tests.simulated import SimulatedDriver
from tests.typed import Terminal


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    driver = SimulatedDriver(path=tmp_path / "world.json")
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    monkeypatch.setenv("POLIS_RETRY", "{attempts: 2, base: 0.001, cap: 0.001}")
    return Terminal(driver)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("up -n other", "-n other up"),
        ("up --name=other --json", "--name=other --json up"),
        ("status --check --json", "--json status --check"),
        ("-q up", "-q up"),
        ("exec ls -v", "exec ls -v"),
        ("exec -n other ls -n 5", "-n other exec ls -n 5"),
        ("exec -- --json", "exec -- --json"),
        ("exec --service gate -n other ls -n 5", "-n other exec --service gate ls -n 5"),
        ("exec --service=gate --json ls --service -y", "--json exec --service=gate ls --service -y"),
        ("exec -- ls --service -n x", "exec -- ls --service -n x"),
        ("shell --service gate -n other", "-n other shell --service gate"),
        ("--json exec ls -y", "--json exec ls -y"),
        ("reset --to absent -y", "-y reset --to absent"),
        ("up -n", "-n up"),
    ],
)
def test_global_options_are_accepted_before_and_after_the_command(typed: str, expected: str) -> None:
    assert hoist(typed.split()) == expected.split()


@pytest.mark.parametrize(
    ("typed", "command"), [("-n x up", "up"), ("--name=x --json status", "status"), ("--help", None), ("-n", None)]
)
def test_the_command_is_known_before_anything_is_imported(typed: str, command: str | None) -> None:
    assert command_of(typed.split()) == command


def test_help_lists_every_command_once() -> None:
    text = CliRunner().invoke(cli.build(), ["--help"]).stdout
    listed = [line.split()[0] for line in text[text.index("Commands:") :].splitlines()[1:] if line.strip()]
    assert listed == [name for name in cli.COMMANDS if name != "start"]
    alone = CliRunner().invoke(cli.build(only="status"), ["status", "--help"]).stdout
    assert "status [OPTIONS]" in alone


def test_up_status_stop_delete_as_a_user_types_them(terminal: Terminal) -> None:
    result = terminal.type("up")
    assert (result.exit_code, result.stdout) == (0, "polis is healthy\n")
    assert "images-pulled: done" in result.stderr
    assert terminal.type("status --check").exit_code == 0
    assert terminal.type("list").stdout.split()[:2] == ["polis", "healthy"]
    assert terminal.type("stop").stdout == "polis is off\n"
    status = terminal.type("status --check")
    assert status.exit_code == 3
    assert "the VM is there, but off" in status.stdout
    assert "polis up" in status.stdout
    assert terminal.type("start -q").stderr == ""
    assert terminal.type("delete -y").stdout.startswith("polis is deleted; its keys and passwords stay")
    assert terminal.type("delete -y").stdout.startswith("there is no workspace polis; its keys and passwords stay")
    assert terminal.type("delete --all -y").stdout == "polis is deleted\n"
    assert terminal.type("list").stdout.startswith("there is no workspace")


def test_up_json_is_one_object_a_line_and_ends_with_the_result(terminal: Terminal) -> None:
    result = terminal.type("up --json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.stderr == ""
    assert lines[-1]["event"] == "result"
    assert (lines[-1]["outcome"], lines[-1]["exit_code"], lines[-1]["error"]) == ("healthy", 0, None)
    assert {line["event"] for line in lines} >= {"phase.started", "phase.completed", "result"}


def test_a_failed_up_json_ends_with_the_error(terminal: Terminal) -> None:
    terminal.driver.refuse_pull = {"gate": "received unexpected HTTP status: 503 Service Unavailable"}
    result = terminal.type("up --json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 75
    assert (lines[-1]["outcome"], lines[-1]["phase"], lines[-1]["exit_code"]) == ("failed", "images-pulled", 75)
    assert lines[-1]["error"]["kind"] == "registry-unavailable"
    assert [line["attempt"] for line in lines if line["event"] == "phase.retry"] == [1]


def test_an_error_has_four_parts(terminal: Terminal) -> None:
    terminal.driver.refuse_pull = {"gate": "manifest unknown"}
    result = terminal.type("up")
    assert result.exit_code == 70
    words = result.stderr[result.stderr.index("error:") :].splitlines()
    assert words[0].endswith("(phase images-pulled)")
    assert "polis-gate" in words[0]
    assert words[1] == "  | manifest unknown"
    assert words[2].startswith("still there: the VM is")
    assert words[3].startswith("next: ")


def test_status_json_has_every_promised_key(terminal: Terminal) -> None:
    empty = json.loads(terminal.type("status --json").stdout)
    terminal.type("up -q")
    full = json.loads(terminal.type("status --json").stdout)
    keys = [
        "schema", "workspace", "phase", "recorded_phase", "target", "pending", "drift", "obstacle", "transition",
        "last_error", "instance", "agent", "services", "checks",
    ]  # fmt: skip
    assert list(empty) == list(full) == keys
    assert empty["phase"] == "absent"
    assert empty["obstacle"] == {"phase": "launched", "reason": "there is no instance"}
    assert full["obstacle"] is None
    assert empty["instance"] is None
    assert full["instance"] == {
        "driver": "simulated",
        "name": "polis",
        "state": "running",
        "kind": "vm",
        "ipv4": [],
        "template": None,
        "snapshots": [],
    }
    assert {service["name"]: service["health"] for service in full["services"]} == {
        "gate": "healthy", "init": "none", "workspace": "healthy",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("reset", 4), ("stop", 4), ("exec true", 4), ("shell", 4), ("ssh-config", 4), ("exec --service gate true", 4),
        ("exec --service", 2), ("exec --service gate", 2), ("shell gate", 2),
        ("-n a_b status", 78), ("--config no.yaml up", 78),
        ("reset --to nowhere", 2), ("nonsense", 2), ("up --version=%%%", 78), ("reset --to absent", 2),
    ],
)  # fmt: skip
def test_what_a_user_can_cause_has_its_exit_code_and_no_traceback(terminal: Terminal, command: str, code: int) -> None:
    result = terminal.type(command)
    assert result.exit_code == code
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["reset", "stop", "-n a_b status", "up --version=%%%"])
def test_an_error_with_json_is_one_json_document(terminal: Terminal, command: str) -> None:
    result = terminal.type(f"{command} --json")
    answer = json.loads(result.stdout.splitlines()[-1] if "up" in command or "reset" in command else result.stdout)
    assert answer["exit_code"] == result.exit_code
    assert answer["error"]["message"]


def test_deleting_asks_first(terminal: Terminal) -> None:
    terminal.type("up -q")
    assert terminal.type("delete").exit_code == 2
    assert terminal.type("status --check").exit_code == 0


def test_exec_passes_words_and_exit_code(terminal: Terminal) -> None:
    terminal.type("up -q")
    assert terminal.type("exec ls -v --json").exit_code == 7


@pytest.mark.parametrize("code", [0, 3, REFUSED, 255])
def test_exec_in_a_service_passes_the_words_behind_the_command_and_every_exit_code(
    terminal: Terminal, code: int
) -> None:
    terminal.type("up -q")
    asked: list[str] = []
    terminal.driver.interfere = lambda call, _moment: asked.append(call)
    assert terminal.type(f"exec --service gate run --service -n {code}").exit_code == code
    assert terminal.driver.entered == ("gate", ["run", "--service", "-n", str(code)])
    assert ("exec:refusal" in asked) == (code == REFUSED), "nothing more is asked unless the code leaves a doubt"


def test_a_shell_in_a_service_is_the_service_s_own(terminal: Terminal) -> None:
    terminal.type("up -q")
    assert terminal.type("shell --service workspace").exit_code == 0
    assert terminal.driver.entered == ("workspace", [])
    terminal.driver.entered = None
    assert terminal.type("exec -- ls --service gate").exit_code == 7
    assert terminal.driver.entered is None


def test_an_unknown_service_is_told_with_those_that_there_are(terminal: Terminal) -> None:
    terminal.type("up -q")
    result = terminal.type("exec --service gates true")
    assert result.exit_code == 4
    words = result.stderr.splitlines()
    assert words[0] == "error: there is no service gates"
    assert words[1] == "  | the services are init, gate, workspace"
    assert words[2] == "next: `--service gate` is one that runs"
    assert json.loads(terminal.type("exec --json --service gates true").stdout)["error"]["kind"] == "not-found"


def test_a_service_that_does_not_run_is_told_with_what_starts_it(terminal: Terminal) -> None:
    terminal.type("up -q --to configured")
    result = terminal.type("exec --service gate true")
    assert result.exit_code == 75
    assert result.stderr.startswith("error: the service gate is not running\n  | state: missing\nnext: `polis up`")
    terminal.type("up -q")
    ended = terminal.type("shell --service init")
    assert ended.exit_code == 75
    assert "does its work once" in ended.stderr
    assert "polis up" not in ended.stderr
    terminal.driver.probes_without_docker = 1
    silent = terminal.type("exec --service gate true")
    assert silent.exit_code == 75
    assert "connection refused" in silent.stderr


def test_before_anything_is_configured_no_service_is_called_unknown(terminal: Terminal) -> None:
    terminal.type("up -q --to launched")
    result = terminal.type("exec --service gate true")
    assert result.exit_code == 75
    assert result.stderr == "error: no services are there yet\nnext: `polis up` starts them\n"


def test_ssh_config_is_a_block_for_ssh_and_a_document_for_scripts(terminal: Terminal) -> None:
    terminal.type("up -q")
    assert terminal.type("ssh-config").stdout.splitlines() == [
        "Host polis-polis",
        "  HostName 127.0.0.1",
        "  Port 2222",
        "  User ubuntu",
        '  IdentityFile "/a b/100%%/key"',
    ]
    document = json.loads(terminal.type("ssh-config --json").stdout)
    assert (document["schema"], document["workspace"], document["host"]) == (1, "polis", "polis-polis")
    assert document["options"]["IdentityFile"] == "/a b/100%/key"
    terminal.type("stop")
    off = terminal.type("ssh-config")
    assert (off.exit_code, off.stdout) == (75, "")
    assert "polis up" in off.stderr


def test_a_damaged_record_spoils_only_its_own_row_of_the_list(terminal: Terminal, home: Path) -> None:
    terminal.type("up -q")
    terminal.type("-n other up -q")
    for path in (home / "config" / "workspaces" / "other").glob("state.json*"):
        path.write_text("{")
    rows = {row["workspace"]: row["phase"] for row in json.loads(terminal.type("list --json").stdout)["workspaces"]}
    assert rows == {"polis": "healthy", "other": "unknown"}


def test_a_guest_s_words_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\nc\u202ed") == "a\ufffd[2Jb\ufffd\nc\ufffdd"


def test_cloud_init_show_prints_what_would_be_sent(terminal: Terminal) -> None:
    shown = terminal.type("cloud-init show")
    assert shown.exit_code == 0
    assert shown.stdout == document.read(None).text
    assert "no difference" in terminal.type("cloud-init show --diff").stdout


def test_cloud_init_show_diff_shows_the_site_s_edits(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLIS_MIRRORS", "{archive: 'http://mirror.example/ubuntu'}")
    lines = terminal.type("cloud-init show --diff").stdout.splitlines()
    assert "+      uri: http://mirror.example/ubuntu" in lines
    assert not [line for line in lines[2:] if line.startswith("-")]
    assert "uri: http://mirror.example/ubuntu" in json.loads(terminal.type("cloud-init show --json").stdout)["text"]


def test_cloud_init_check_refuses_as_up_does(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("#cloud-config\nusers: {}\n")
    told = {}
    for command in ("cloud-init check", "up"):
        result = terminal.type(f"{command} --cloud-init {path}")
        assert result.exit_code == 78
        told[command] = result.stderr
    assert told["cloud-init check"] == told["up"]
    assert f"{path}:2:1: `users` must be a list" in told["up"]
    assert not terminal.driver.path.exists()


def test_cloud_init_check_tells_warnings(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("#cloud-config\nusers: [default]\n")
    result = terminal.type(f"cloud-init check --cloud-init {path}")
    assert result.exit_code == 0
    assert result.stdout.startswith("warning: ")
    assert result.stdout.endswith("can be used\n")
    assert json.loads(terminal.type(f"--json cloud-init check --cloud-init {path}").stdout)["warnings"]


def test_status_tells_scripts_what_mends_a_check(terminal: Terminal) -> None:
    terminal.type("up")
    terminal.driver.failing = {"aslr": "0"}
    terminal.driver.probes_without_docker = 1
    checks = json.loads(terminal.type("status --json").stdout)["checks"]
    assert {check["name"]: check["mend"] for check in checks if not check["ok"]} == {
        "aslr": "polis exec sudo sysctl --system",
        "docker": "polis exec sudo systemctl restart docker",
    }
    assert {check["mend"] for check in checks if check["ok"]} == {""}


def test_a_container_is_healthy_without_what_only_a_kernel_could_give_and_status_says_so(terminal: Terminal) -> None:
    terminal.driver.kind = InstanceKind.CONTAINER
    terminal.driver.failing = {"aslr": "0", "audit-rules": "none"}
    assert terminal.type("up").exit_code == 0
    document = json.loads(terminal.type("status --json").stdout)
    assert document["phase"] == "healthy"
    assert document["instance"]["kind"] == "container"
    states = {check["name"]: (check["ok"], check["state"], check["mend"]) for check in document["checks"]}
    assert states["aslr"] == states["audit-rules"] == (False, "not-applicable", "")
    assert states["shadow"] == (True, "passed", "")
    shown = terminal.type("status").stdout
    assert "instance   polis (simulated, container), running" in shown
    note = "a system container: it shares its server's kernel, and isolates less than a VM; not applicable in it:"
    assert f"note       {note} aslr, audit-rules\n" in shown
    assert "failing" not in shown
    terminal.driver.failing |= {"shadow": "0644 root"}
    assert json.loads(terminal.type("status --json").stdout)["phase"] == "absent"


def test_what_a_vm_says_of_itself_gives_it_no_leniency(terminal: Terminal) -> None:
    terminal.driver.failing = {"aslr": "0"}
    terminal.driver.claims = {"shared_kernel": True, "kind": "container"}
    result = terminal.type("up")
    assert result.exit_code == 70
    assert "aslr: expected" in result.stderr
    document = json.loads(terminal.type("status --json").stdout)
    assert document["instance"]["kind"] == "vm"
    assert [check["name"] for check in document["checks"] if check["state"] == "failed"] == ["aslr"]


def test_status_tells_some_failed_checks_and_counts_the_rest(terminal: Terminal) -> None:
    terminal.type("up")
    terminal.driver.failing = {"aslr": "0", "shadow": "0644 root"}
    rows = [line for line in terminal.type("status").stdout.splitlines() if line.startswith("failing")]
    assert len(rows) == 2
    assert rows[0].startswith("failing    aslr: expected 1, saw 0 (addresses must not be predictable; mend: ")
    terminal.driver.failing |= {"audit-rules": "none", "apparmor": "N", "daemon-json": "0666 root"}
    shown = terminal.type("status").stdout
    assert len([line for line in shown.splitlines() if line.startswith("failing")]) == 3
    assert "and 2 more checks" in shown
