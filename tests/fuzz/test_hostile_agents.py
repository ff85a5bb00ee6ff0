"""Agents from anywhere: whatever a manifest, an archive, a file with keys holds, it is accepted or refused in words.

And what is accepted says nothing to systemd, a shell or Compose but what its fields mean.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from polis.agents import choice, envfile, overlay, reading, unit
from polis.agents.reading import Agent
from polis.errors import ConfigurationError
from tests.agents import GOOD, SCRIPTS
from tests.fuzz import hostile_yaml, refusals, tars
from tests.fuzz.effort import examples
from tests.fuzz.tars import Item

EXAMPLE = (Path(__file__).parents[2] / "examples" / "agents" / "beacon" / "agent.yaml").read_text()
FILES = {**SCRIPTS, "install.sh": "#!/bin/sh\n", "init.sh": "#!/bin/sh\n"}
UNIT_KEYS = {
    *("Description", "Wants", "Requires", "After", "StartLimitIntervalSec", "Type", "User", "WorkingDirectory"),
    *("Environment", "EnvironmentFile", "ExecStartPre", "ExecStart", "Restart", "RestartSec", "TimeoutStartSec"),
    *("NoNewPrivileges", "ProtectSystem", "ProtectHome", "ReadWritePaths", "PrivateTmp", "MemoryMax", "CPUQuota"),
}
ONCE = ("User", "ExecStart", "NoNewPrivileges", "ProtectSystem", "Description")


def read(manifest: bytes) -> Agent | ConfigurationError:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        root = Path(directory)
        for name, text in FILES.items():
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text(text)
        (root / reading.MANIFEST).write_bytes(manifest)
        try:
            return reading.read(root)
        except ConfigurationError as error:
            refusals.judge(error, naming=reading.MANIFEST)
            return error


def judge(result: Agent | ConfigurationError) -> None:
    if isinstance(result, ConfigurationError):
        return
    text = unit.unit(result)
    pairs = [line.partition("=")[::2] for line in text.splitlines() if line and line[0] not in "#["]
    assert {key for key, _ in pairs} <= UNIT_KEYS
    assert all([key for key, _ in pairs].count(key) == 1 for key in ONCE)
    assert dict(pairs)["User"] not in ("root", "0")
    assert "%" not in text.replace(f"CPUQuota={result.manifest.spec.security.cpu_quota}", "")
    document = YAML(typ="safe").load(overlay.overlay(result))
    assert set(document["services"]) == {"workspace"}
    service = document["services"]["workspace"]
    assert set(service) <= {"cap_add", "secrets", "volumes", "healthcheck", "mem_limit", "mem_reservation"}
    assert all(mount["source"].startswith(("./.polis/agent/", "polis-agent-")) for mount in service["volumes"])
    assert not any(mount["target"].startswith(("/etc/passwd", "/proc", "/sys")) for mount in service["volumes"])
    assert b"$" not in overlay.overlay(result)
    for script in (unit.setup(result), unit.health(result)):
        assert script.count("\n") < 40
        for own in ("&&", "; then", "; exit 1;", ">&2"):
            script = script.replace(own, "")  # noqa: PLW2901
        assert not set("`;&") & set(script)


def test_the_example_itself_is_accepted() -> None:
    result = read(EXAMPLE.encode())
    assert isinstance(result, Agent)
    judge(result)


@examples(300)
@given(data=hostile_yaml.spoilt(EXAMPLE))
@example(data=b"spec: &itself {runtime: *itself}")
@example(data=b"metadata: !!set [a]")
@example(data=b"spec: {install: 5, init: [], commands: {}}")
@example(data=EXAMPLE.replace("user: polis", "user: !!str 0").encode())
@example(data=EXAMPLE.replace("user: polis", "user: &a polis").replace("BEACON_REGION", "*a").encode())
@example(data=EXAMPLE.replace("name: beacon", 'name: "beacon\\n"').encode())
def test_no_manifest_is_a_traceback(data: bytes) -> None:
    judge(read(data))
    assert not Path("pwned").exists()


@pytest.mark.parametrize("bomb", hostile_yaml.BOMBS)
@pytest.mark.parametrize("key", ["metadata", "spec", "unknown"])
def test_a_bomb_is_refused_at_once(bomb: str, key: str) -> None:
    assert isinstance(read(f"{key}: {hostile_yaml.BOMBS[bomb]}\n".encode()), ConfigurationError)
    assert isinstance(read(f"{key}:\n  runtime: {hostile_yaml.BOMBS[bomb]}\n".encode()), ConfigurationError)


LEAVES = (
    *("metadata.name", "metadata.displayName", "metadata.description", "spec.install", "spec.init", "spec.commands"),
    *(
        "spec.runtime.command",
        "spec.runtime.user",
        "spec.runtime.workdir",
        "spec.runtime.envFile",
        "spec.health.command",
    ),
    *("spec.persistence.0.containerPath", "spec.persistence.0.name", "spec.ports.0.hostEnv", "spec.health.interval"),
    *("spec.security.protectHome", "spec.security.cpuQuota", "spec.security.memoryMax", "spec.runtime.env.A"),
)
biting = st.text(alphabet="a/0.%$;&|`'\"\\\n\r\t =:,-+@~*?{}[]()<>#!\0é\u2028\x85\u202e", max_size=12)
texts = st.one_of(biting, biting.map(lambda text: f"/bin/x {text}"), biting.map(lambda text: f"/home/a/{text}"))


@examples(600)
@given(changes=st.dictionaries(st.sampled_from(LEAVES), texts, min_size=1, max_size=2))
@example(changes={"spec.runtime.command": "/bin/x\nUser=root"})
@example(changes={"spec.runtime.env.A": 'x" "B=y'})
@example(changes={"spec.persistence.0.containerPath": "/home/a:/etc"})
def test_what_is_accepted_says_nothing_but_what_its_fields_mean(changes: dict[str, str]) -> None:
    manifest = json.loads(json.dumps(GOOD))
    manifest["spec"]["runtime"]["env"] = {}
    manifest["spec"]["security"] = {}
    for path, value in changes.items():
        *outer, last = path.split(".")
        node = manifest
        for key in outer:
            node = node[int(key)] if key.isdigit() else node[key]
        node[last] = value
    judge(read(json.dumps(manifest).encode()))


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """Draw a tar of odd entries around a good manifest, or without one."""
    good = [
        Item(reading.MANIFEST, data=json.dumps(GOOD).encode()),
        *(Item(n, data=t.encode()) for n, t in SCRIPTS.items()),
    ]
    entries = [*draw(st.lists(tars.items, max_size=3)), *(good if draw(st.integers(0, 4)) else [])]
    return tars.tar(entries, draw(st.sampled_from(tars.FORMS)))


@examples(150)
@given(data=st.one_of(archives(), st.binary(max_size=600)))
def test_no_archive_is_a_traceback(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        path = Path(directory) / "agent.tar"
        path.write_bytes(data)
        try:
            judge(reading.read(path))
        except ConfigurationError as error:
            refusals.judge(error, naming="agent")


@examples(300)
@given(
    data=st.one_of(
        st.binary(max_size=80),
        st.text(alphabet="AB_1='\"\\ #\n\r\0é\u2028export ", max_size=40).map(lambda text: text.encode()),
        st.lists(st.sampled_from(["A=b", "export A=b", "A='b'", "#A", "", "A", "A==", "É=1", "A=\x1b[2J"])).map(
            lambda lines: "\n".join(lines).encode()
        ),
    )
)
def test_no_file_with_keys_is_a_traceback(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        path = Path(directory) / "keys"
        path.write_bytes(data)
        try:
            found = envfile.read(path)
        except ConfigurationError as error:
            refusals.judge(error, naming="keys")
            return
    for line in unit.environment(found).splitlines():
        assert line.partition("=")[0] in found
    assert len(unit.environment(found).splitlines()) == len(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("probe"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["schema", "agent", "values", "A"]), inner)
    ),
    max_leaves=6,
)
kept_files = st.one_of(
    st.binary(max_size=40),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.fixed_dictionaries({"schema": st.just(1), "agent": json_values, "values": json_values}).map(
        lambda value: json.dumps(value).encode()
    ),
)


@examples(300)
@given(data=kept_files)
@example(data=b'{"schema": 1, "agent": "probe", "values": {"probe": {"A": "\\ud800"}}}')
@example(data=b"[" * 100_000)
def test_nothing_that_is_kept_is_a_traceback(data: bytes) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        (Path(directory) / choice.FILE).write_bytes(data)
        try:
            kept = choice.load(Path(directory))
        except ConfigurationError as error:
            refusals.judge(error, naming=choice.FILE)
            return
        for values in kept.values.values():
            unit.environment(values).encode()
        choice.save(Path(directory), kept)
        assert choice.load(Path(directory)).agent == kept.agent
