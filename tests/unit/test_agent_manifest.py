"""What an agent may say, and everything that it must not."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polis.agents import reading, template
from polis.agents.reading import Agent
from polis.errors import ConfigurationError, ExitCode
from tests import agents

EXAMPLES = Path(__file__).parents[2] / "examples" / "agents"


def read(tmp_path: Path, changes: Mapping[str, Any] | None = None, files: Mapping[str, str] | None = None) -> Agent:
    return reading.read(agents.write(tmp_path / "agent", changes, files))


def refusal(tmp_path: Path, changes: Mapping[str, Any] | None = None, files: Mapping[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, changes, files)
    assert caught.value.exit_code is ExitCode.CONFIGURATION
    return f"{caught.value.message}\n{caught.value.cause}"


def test_a_good_agent_is_read_with_its_defaults(tmp_path: Path) -> None:
    agent = read(tmp_path)
    spec = agent.manifest.spec
    assert (agent.name, spec.runtime.user) == ("probe", "polis")
    assert (spec.health.interval, spec.health.timeout, spec.health.retries) == (30, 10, 3)
    assert (spec.security.protect_system, spec.security.no_new_privileges) == ("strict", True)
    assert agent.manifest.variables == ("PROBE_KEY", "OTHER_KEY", "REGION")
    assert set(agent.files) == {"agent.yaml", "install.sh", "scripts/init.sh"}
    assert agent.files["install.sh"].mode == 0o755


@pytest.mark.parametrize("path", sorted(EXAMPLES.iterdir()), ids=lambda path: path.name)
def test_the_examples_are_acceptable(path: Path) -> None:
    assert reading.read(path).name == path.name


def test_what_new_writes_is_acceptable_as_it_is(tmp_path: Path) -> None:
    assert reading.read(template.write("mine", tmp_path)).name == "mine"


def test_the_same_content_has_the_same_digest_wherever_it_lies(tmp_path: Path) -> None:
    first, second = read(tmp_path / "a"), read(tmp_path / "b")
    assert first.digest == second.digest
    assert first.digest != read(tmp_path / "c", {"metadata.version": "1.0.1"}).digest


def test_a_tar_is_read_like_a_directory(tmp_path: Path) -> None:
    directory = agents.write(tmp_path / "agent")
    with tarfile.open(tmp_path / "agent.tar", "w") as tar:
        tar.add(directory, ".")
    assert reading.read(tmp_path / "agent.tar").digest == reading.read(directory).digest


def test_all_problems_are_told_at_once_with_their_places(tmp_path: Path) -> None:
    manifest = (
        "apiVersion: polis.dev/v2\nkind: AgentPlugin\nmetadata: {name: Probe, displayName: P, version: '1'}\n"
        "spec:\n  packaging: script\n  install: nowhere.sh\n  runtime: {command: /bin/x, user: root}\n"
        "  health:\n    command: curl x\n    retires: 3\n"
    )
    text = refusal(tmp_path, files={"agent.yaml": manifest})
    for place, key in (
        ("1:1", "apiVersion"),
        ("3:12", "metadata.name"),
        ("3:1", "metadata.description"),
        ("7:30", "spec.runtime.user"),
        ("10:5", "spec.health.retires"),
        ("6:3", "spec.install"),
    ):
        assert re.search(rf"agent\.yaml:{place}: .*`{re.escape(key)}`", text), (place, key, text)


@pytest.mark.parametrize("user", ["root", "0", 0, "root:root", "0:0", "root:polis", " root", "00"])
def test_root_is_refused_however_it_is_written(tmp_path: Path, user: object) -> None:
    assert "must not run as root" in refusal(tmp_path, {"spec.runtime.user": user})


@pytest.mark.parametrize("user", ["1000", 1000, "a b", "polis\nUser=root", "Polis", "polis:root", "%u", "", True])
def test_a_user_is_a_name(tmp_path: Path, user: object) -> None:
    assert "spec.runtime.user" in refusal(tmp_path, {"spec.runtime.user": user})


@pytest.mark.parametrize("key", ["install", "init", "commands"])
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../install.sh", "leaves the agent's directory"),
        ("scripts/../../x", "leaves the agent's directory"),
        ("..", "leaves the agent's directory"),
        ("/bin/sh", "not an absolute one"),
        ("nowhere.sh", "there is no file nowhere.sh"),
        ("scripts", "there is no file scripts"),
        ("a b.sh", "letters, digits"),
        ("a;b", "letters, digits"),
        ("%h/x", "letters, digits"),
        ("./install.sh", "empty parts"),
        ("install.sh\n", "letters, digits"),
        ("", "letters, digits"),
        ("data", "does not begin with #!"),
    ],
)
def test_scripts_lie_in_the_agent_and_say_what_runs_them(tmp_path: Path, key: str, path: str, reason: str) -> None:
    text = refusal(tmp_path, {f"spec.{key}": path}, {"data": "text"})
    assert f"`spec.{key}`" in text
    assert reason in text


COMMANDS = (
    *("a;b", "/bin/x; rm", "/bin/x | y", "/bin/x & y", "/bin/x $HOME", "/bin/x `id`", "/bin/x $(id)", "/bin/x > y"),
    *("/bin/x < y", "/bin/x 'a b'", '/bin/x "a"', "/bin/x \\n", "/bin/x *", "/bin/x ?", "/bin/x [a]", "/bin/x {a}"),
    *("/bin/x %n", "/bin/x ~", "/bin/x #a", "/bin/x !a", "/bin/x\nUser=root", "/bin/x\r", "/bin/x\ty", "/bin/x\0"),
    *(
        "/bin/x  y",
        " /bin/x",
        "/bin/x ",
        "",
        "/bin/x é",
        "/bin/x \u202e",
        "/bin/../x",
        "/bin//x",
        "/bin/x " + "y" * 1000,
    ),
)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("key", ["runtime", "health"])
def test_a_command_is_words_that_no_shell_and_no_systemd_can_misread(tmp_path: Path, key: str, command: str) -> None:
    assert f"`spec.{key}.command`" in refusal(tmp_path, {f"spec.{key}.command": command})


@pytest.mark.parametrize("command", ["node dist/x", "-/bin/x", "+/bin/x", "@/bin/x y", ":/bin/x", "A=b /bin/x"])
def test_what_is_started_is_named_by_its_absolute_path(tmp_path: Path, command: str) -> None:
    assert "absolute path of a program" in refusal(tmp_path, {"spec.runtime.command": command})


@pytest.mark.parametrize("command", ["-x", "../x", "a/b", "@x", "=x"])
def test_a_health_command_begins_with_a_program(tmp_path: Path, command: str) -> None:
    assert "must begin with" in refusal(tmp_path, {"spec.health.command": command})


@pytest.mark.parametrize("key", ["metadata.displayName", "metadata.description", "metadata.author"])
@pytest.mark.parametrize(
    "text", ["a\nExecStart=x", "a\0", "a\u202eb", "a\u2028b", "a\x85b", "%h", "a\\", " ", "x" * 201]
)
def test_text_stays_on_its_line(tmp_path: Path, key: str, text: str) -> None:
    assert f"`{key}`" in refusal(tmp_path, {key: text})


@pytest.mark.parametrize("name", ["../x", "A", "a_b", "-a", "a-", "a" * 41, "", "a b", "a/b", "a\n"])
def test_a_name_is_a_safe_file_name(tmp_path: Path, name: str) -> None:
    assert "`metadata.name`" in refusal(tmp_path, {"metadata.name": name})


@pytest.mark.parametrize("port", [53, 1344, 6379, 8080, 18080])
@pytest.mark.parametrize("key", ["container", "default"])
def test_ports_of_the_stack_are_refused(tmp_path: Path, port: int, key: str) -> None:
    text = refusal(tmp_path, {"spec.ports": [{"container": 9000, "default": 9000, key: port}]})
    assert f"`spec.ports.0.{key}`" in text
    assert "that the stack needs itself" in text


@pytest.mark.parametrize("port", [0, -1, 65536, "9000", 1.5, True])
def test_a_port_is_a_number_that_can_be_one(tmp_path: Path, port: object) -> None:
    assert "`spec.ports.0.container`" in refusal(tmp_path, {"spec.ports": [{"container": port, "default": 9000}]})


@pytest.mark.parametrize(
    ("second", "what"),
    [
        ({"container": 9000, "default": 9001}, "the port 9000"),
        ({"container": 9001, "default": 9000}, "the host's port 9000"),
        ({"container": 9001, "default": 9001, "hostEnv": "PORT"}, "the variable PORT"),
    ],
)
def test_a_port_is_not_there_twice(tmp_path: Path, second: dict[str, object], what: str) -> None:
    first = {"container": 9000, "default": 9000, "hostEnv": "PORT"}
    assert f"{what} is there twice" in refusal(tmp_path, {"spec.ports": [first, second]})


NAMES = (
    *("1A", "A-B", "A B", "", "A=B", "A\n", "É", "POLIS_GATE", "POLIS_X", "PATH", "LD_PRELOAD", "LD_LIBRARY_PATH"),
    *("HOME", "USER", "IFS", "ENV", "BASH_ENV", "SYSTEMD_LOG_LEVEL", "NOTIFY_SOCKET", "path", "BASH_FUNC_x%%"),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["requirements.envOneOf", "requirements.envOptional", "runtime.env", "ports"])
def test_names_of_variables_are_names_and_nobody_elses(tmp_path: Path, key: str, name: str) -> None:
    values: dict[str, Any] = {
        "runtime.env": {name: "x"},
        "ports": [{"container": 1, "default": 1, "hostEnv": name}],
    }
    assert f"`spec.{key}" in refusal(tmp_path, {f"spec.{key}": values.get(key, [name])})


@pytest.mark.parametrize("value", ["a\nUser=root", "a\0", 'a"b', "a'b", "a\\b", "%h", "$HOME", "`id`", "x" * 1001])
def test_settings_stay_in_their_quotes(tmp_path: Path, value: str) -> None:
    assert "`spec.runtime.env.A`" in refusal(tmp_path, {"spec.runtime.env": {"A": value}})


def test_a_setting_that_may_be_a_key_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in refusal(tmp_path, {"spec.runtime.env": {"A": "hunter2%"}})


def test_a_variable_is_not_both_set_and_asked_for(tmp_path: Path) -> None:
    assert "both have PROBE_KEY" in refusal(tmp_path, {"spec.runtime.env": {"PROBE_KEY": "x"}})
    assert "the variable A is there twice" in refusal(
        tmp_path, {"spec.requirements": {"envOneOf": ["A"], "envOptional": ["A"]}}
    )


PLACES = (
    *("/", "/etc", "/etc/x", "/usr/local", "/bin", "/proc/1", "/sys", "/dev/x", "/run/secrets", "/root", "/boot"),
    *("/lib/systemd", "/sbin/x", "/home", "/opt", "/var", "/var/lib", "/var/log", "/var/run/x", "/mnt", "/srv"),
    *("/opt/agents", "/opt/agents/probe", "/var/lib/docker", "/var/lib/docker/x", "/home/../etc", "/home/polis/.."),
    *("relative", "", "/home/a b", "/home/a:b", "/home/a%h", "/home/a\nb", "/home//a", "/home/./a", "/" + "a" * 300),
)


@pytest.mark.parametrize("path", PLACES)
def test_volumes_and_writable_paths_cover_nothing_of_the_system(tmp_path: Path, path: str) -> None:
    persistence = [{"name": "data", "containerPath": path}]
    assert "containerPath" in refusal(tmp_path, {"spec.persistence": persistence})
    assert "readWritePaths" in refusal(tmp_path, {"spec.security": {"readWritePaths": [path]}})


@pytest.mark.parametrize("path", ["/home/polis", "/home/polis/.x/", "/app", "/var/lib/probe", "/srv/x", "/opt/probe"])
def test_an_agents_own_places_are_accepted(tmp_path: Path, path: str) -> None:
    spec = read(tmp_path, {"spec.persistence": [{"name": "data", "containerPath": path}]}).manifest.spec
    assert spec.persistence[0].container_path == path.rstrip("/")


@pytest.mark.parametrize("same", [{"name": "data"}, {"containerPath": "/home/polis/a/"}])
def test_volumes_are_distinct(tmp_path: Path, same: dict[str, str]) -> None:
    first = {"name": "data", "containerPath": "/home/polis/a"}
    second = {"name": "more", "containerPath": "/home/polis/b", **same}
    assert "is there twice" in refusal(tmp_path, {"spec.persistence": [first, second]})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spec.packaging", "docker"),
        ("kind", "Agent"),
        ("metadata.version", "1 0"),
        ("metadata.version", 1.0),
        ("spec.runtime.workdir", "/a/../b"),
        ("spec.runtime.workdir", "app"),
        ("spec.runtime.envFile", "../x"),
        ("spec.runtime.envFile", "/x\nUser=root"),
        ("spec.health.interval", "soon"),
        ("spec.health.timeout", "0s"),
        ("spec.health.startPeriod", "2h"),
        ("spec.health.retries", 0),
        ("spec.security.protectSystem", False),
        ("spec.security.noNewPrivileges", False),
        ("spec.security.protectHome", "no\nUser=root"),
        ("spec.security.privateTmp", "yes\nUser=root"),
        ("spec.security.memoryMax", "2X"),
        ("spec.security.cpuQuota", "100"),
        ("spec.security.cpuQuota", "100%\nUser=root"),
        ("spec.resources.memoryLimit", "1M"),
        ("spec.resources.memoryLimit", "9999T"),
        ("spec.persistence", [{"name": "../x", "containerPath": "/app"}]),
        ("spec.onboarding", [{"title": "x", "command": "a\nb"}]),
        ("spec.unknown", 1),
        ("unknown", 1),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_key(tmp_path: Path, key: str, value: object) -> None:
    assert f"`{key}" in refusal(tmp_path, {key: value})


def test_more_is_not_reserved_than_allowed(tmp_path: Path) -> None:
    text = refusal(tmp_path, {"spec.resources": {"memoryLimit": "1G", "memoryReservation": "2G"}})
    assert "memoryReservation is more than memoryLimit" in text


# ── the directory is as untrusted as a bundle ────────────────────────────────


def test_an_agent_needs_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    with pytest.raises(ConfigurationError, match=re.escape("no file 'agent.yaml'")):
        reading.read(tmp_path / "agent")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("../../etc/passwd", "outside of the agent"),
        ("/etc/passwd", "outside"),
        ("agent.yaml", "a symbolic link; an agent has only files"),
    ],
)
def test_links_are_refused(tmp_path: Path, target: str, reason: str) -> None:
    root = agents.write(tmp_path / "agent")
    (root / "install.sh").unlink()
    (root / "install.sh").symlink_to(target)
    with pytest.raises(ConfigurationError, match=reason):
        reading.read(root)


def test_keys_do_not_belong_into_an_agent(tmp_path: Path) -> None:
    assert "polis writes itself" in refusal(tmp_path, files={".env": "KEY=1"})


@pytest.mark.parametrize("text", ["", "[]", "text", "a: b: c", "\t", "- 1", "spec: []", "spec: {runtime: 1}", "'"])
def test_what_is_no_manifest_is_refused_with_its_place(tmp_path: Path, text: str) -> None:
    assert "agent.yaml:" in refusal(tmp_path, files={"agent.yaml": text})


def test_a_huge_manifest_is_refused(tmp_path: Path) -> None:
    assert "larger than" in refusal(tmp_path, files={"agent.yaml": "#" * (2 << 20)})
