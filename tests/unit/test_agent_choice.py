"""Which agent a workspace has, what it is given, and what is kept of that."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polis import config, paths, redaction
from polis.agents import choice, parts, reading
from polis.agents.choice import Kept
from polis.agents.parts import AgentParts
from polis.agents.shelf import Shelf
from polis.errors import ConfigurationError, HostUnsuitable, NotFound, PolisError, UsageError
from tests import agents
from tests.agents import KEY

KEYS = {"PROBE_KEY": KEY}


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path) -> Shelf:
    shelf = Shelf(paths.find())
    shelf.add(reading.read(agents.write(tmp_path / "probe")))
    other = {"metadata.name": "other", "spec.requirements": {"envOneOf": ["OTHER_KEY"]}}
    shelf.add(reading.read(agents.write(tmp_path / "other", other)))
    return shelf


def prepare(environ: Mapping[str, str] | None = None, **settings: Any) -> AgentParts | None:
    return parts.prepare(config.Spec.model_validate(settings), paths.find(), environ or {})


def prepared(environ: Mapping[str, str] | None = None, **settings: Any) -> AgentParts:
    found = prepare(environ, **settings)
    assert found is not None
    return found


def up(environ: Mapping[str, str] | None = None, **settings: Any) -> AgentParts | None:
    """Do what `up` does with an agent."""
    found = prepare(environ, **settings)
    parts.remember(config.Spec.model_validate(settings), paths.find(), found)
    return found


def kept(workspace: str = "polis") -> Kept:
    return choice.load(paths.find().secrets(workspace))


def env(found: AgentParts) -> str:
    return found.files["env"].content.decode()


def test_without_a_word_there_is_no_agent_and_nothing_is_written() -> None:
    assert up() is None
    assert not paths.find().secrets("polis").exists()


def test_a_chosen_agent_gets_its_key_from_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    found = prepared({**KEYS, "UNRELATED": "x", "AWS_SECRET": "y"}, agent="probe")
    assert env(found) == f'PROBE_KEY="{KEY}"\n'
    assert (found.files["env"].mode, found.files["env"].owner) == (0o400, 0)
    assert found.variables == ("PROBE_KEY",)
    assert found.files["files/install.sh"].mode == 0o755


def test_only_the_file_for_keys_has_a_key_in_it() -> None:
    found = prepared({**KEYS, "REGION": "north-of-here"}, agent="probe")
    holding = [name for name, file in found.files.items() if KEY.encode() in file.content]
    assert holding == ["env"]
    assert KEY not in repr(found)
    assert KEY not in found.fingerprint
    assert set(found.secrets) == {KEY, "north-of-here"}
    assert redaction.redact(f"a {KEY} b") == f"a {redaction.STRUCK} b"


def test_a_plain_word_is_not_struck_out_of_everything() -> None:
    assert prepared({**KEYS, "REGION": "running"}, agent="probe").secrets == (KEY,)
    assert prepared(KEYS, agent="probe", env={"A_TOKEN": "token-1"}).secrets == ("token-1", KEY)


def test_what_a_killed_process_was_writing_is_swept_away() -> None:
    directory = paths.find().secrets("polis")
    directory.mkdir(parents=True)
    (directory / f".{choice.FILE}.1-abcd.partial").write_text(KEY)
    up(KEYS, agent="probe")
    assert [path.name for path in directory.iterdir()] == [choice.FILE]


def test_preparing_writes_nothing() -> None:
    prepared(KEYS, agent="probe")
    assert not paths.find().secrets("polis").exists()


@pytest.mark.parametrize("environ", [{}, {"PROBE_KEY": ""}, {"REGION": "x"}])
def test_an_unmet_requirement_is_refused_by_the_names(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepare(environ, agent="probe")
    assert "one of PROBE_KEY, OTHER_KEY" in caught.value.message
    assert "--env-file" in caught.value.hint
    assert caught.value.exit_code == 78


@pytest.mark.parametrize("value", ["a\nb", "a\0b", "x" * 9000, "\udcff", "a\rb"])
def test_a_value_that_cannot_be_written_down_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepare({"PROBE_KEY": value}, agent="probe")
    assert "PROBE_KEY" in caught.value.message
    assert value not in str(caught.value)


def test_agent_and_keys_are_kept_for_a_plain_up() -> None:
    first = up(KEYS, agent="probe")
    assert first is not None
    again = prepared()
    assert (again.name, again.fingerprint, again.notes) == ("probe", first.fingerprint, ())
    assert env(again) == env(first)


def test_what_is_kept_is_for_its_owner_only() -> None:
    up(KEYS, agent="probe")
    path = paths.find().secrets("polis") / choice.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_changed_key_replaces_the_kept_one_and_is_told() -> None:
    first = up(KEYS, agent="probe")
    assert first is not None
    assert first.notes == ("the agent probe is given PROBE_KEY from the environment; it is kept for the next time",)
    second = up({"PROBE_KEY": "sk-another-key"})
    assert second is not None
    assert second.notes == ("the agent probe is given another PROBE_KEY, from the environment",)
    assert second.fingerprint != first.fingerprint
    assert env(prepared()) == 'PROBE_KEY="sk-another-key"\n'


def test_a_further_key_does_not_take_away_the_kept_one() -> None:
    up(KEYS, agent="probe")
    up({"OTHER_KEY": "second-key"})
    assert prepared().variables == ("OTHER_KEY", "PROBE_KEY")


def test_keys_of_one_agent_are_not_handed_to_another() -> None:
    up({"PROBE_KEY": KEY, "OTHER_KEY": "other-key"}, agent="probe")
    with pytest.raises(ConfigurationError, match="OTHER_KEY, which is not set"):
        prepare(agent="other")


def test_switching_back_needs_no_key_again() -> None:
    up(KEYS, agent="probe")
    up({"OTHER_KEY": "other-key"}, agent="other")
    assert kept().agent == "other"
    up(agent="probe")
    assert env(prepared()) == f'PROBE_KEY="{KEY}"\n'


def test_no_agent_is_remembered_too_and_the_keys_stay() -> None:
    up(KEYS, agent="probe")
    assert up(agent="") is None
    assert prepare() is None
    assert up(agent="probe") is not None


def test_each_workspace_has_its_own() -> None:
    up(KEYS, agent="probe")
    assert prepare(name="second") is None
    with pytest.raises(ConfigurationError):
        prepare(name="second", agent="probe")


def test_an_agent_that_is_not_there_is_named() -> None:
    for name in ("nobody", "a" * 40):
        with pytest.raises(NotFound, match=name):
            prepare(agent=name)


def test_commands_that_need_no_agent_work_without_it(shelf: Shelf) -> None:
    up(KEYS, agent="probe")
    shelf.remove("probe")
    found = parts.available(config.Spec(), paths.find(), {})
    assert found is not None
    assert found.fingerprint == "unavailable"
    with pytest.raises(NotFound):
        _ = found.files


def test_keys_of_a_removed_agent_are_forgotten(shelf: Shelf) -> None:
    up(KEYS, agent="probe")
    up({"OTHER_KEY": "other-key"}, agent="other")
    shelf.remove("probe")
    up({"OTHER_KEY": "third-key"})
    assert set(kept().values) == {"other"}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"schema": 2}', b'{"schema": 1, "agent": 1, "values": {}}', b"[" * 100_000, b"\xff"]
)
def test_damage_never_takes_the_agent_away_silently(content: bytes) -> None:
    up(KEYS, agent="probe")
    (paths.find().secrets("polis") / choice.FILE).write_bytes(content)
    with pytest.raises(ConfigurationError, match="which agent this workspace has"):
        prepare()
    up(KEYS, agent="probe")
    assert kept() == Kept("probe", {"probe": KEYS})


def test_damage_is_not_quoted() -> None:
    directory = paths.find().secrets("polis")
    directory.mkdir(parents=True)
    (directory / choice.FILE).write_text(f'{{"schema": 1, "agent": "probe", "values": {{"probe": {{"A": "{KEY}"}}')
    with pytest.raises(ConfigurationError) as caught:
        prepare()
    assert KEY not in f"{caught.value.message}{caught.value.cause}"


def test_a_full_disk_is_told_and_the_old_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    up(KEYS, agent="probe")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        with pytest.raises(HostUnsuitable, match="No space left"):
            up({"PROBE_KEY": "sk-another-key"})
    assert kept().values["probe"] == KEYS


def test_more_memory_than_the_vm_has_is_refused(tmp_path: Path, shelf: Shelf) -> None:
    shelf.add(reading.read(agents.write(tmp_path / "big", {"spec.resources": {"memoryLimit": "6G"}})), replace=True)
    with pytest.raises(ConfigurationError, match="up to 6144 MiB of memory, and the VM has 4096 MiB"):
        prepare(KEYS, agent="probe", memory="4G")
    assert prepare(KEYS, agent="probe", memory="8G") is not None


# ── polis.yaml and the file with keys ────────────────────────────────────────


def test_settings_of_the_configuration_are_given_but_not_kept() -> None:
    found = up(KEYS, agent="probe", env={"REGION": "north", "ANYTHING": 5})
    assert found is not None
    assert env(found) == f'ANYTHING="5"\nPROBE_KEY="{KEY}"\nREGION="north"\n'
    assert kept().values["probe"] == KEYS


def test_a_key_in_the_configuration_is_warned_of_and_hidden() -> None:
    found = prepared(agent="probe", env={"PROBE_KEY": "sk-in-the-file"})
    assert "PROBE_KEY" in "".join(found.warnings)
    assert "sk-in-the-file" not in "".join(found.warnings)
    assert "sk-in-the-file" in found.secrets


def test_the_file_wins_over_the_environment_and_that_over_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# keys\n\nexport PROBE_KEY='from file'\nEMPTY=\n")
    file.chmod(0o600)
    given = {"PROBE_KEY": "from-environment", "REGION": "from-environment"}
    found = prepared(given, agent="probe", env_file=file, env={"REGION": "from-yaml", "OTHER_KEY": "from-yaml"})
    assert env(found) == 'OTHER_KEY="from-yaml"\nPROBE_KEY="from file"\nREGION="from-environment"\n'
    assert not [text for text in found.warnings if "read" in text or "left out" in text]


def test_what_an_agent_does_not_ask_for_is_left_out_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(f'PROBE_KEY="{KEY}"\nGITHUB_TOKEN=abc\n')
    file.chmod(0o644)
    found = prepared(agent="probe", env_file=file)
    assert "GITHUB_TOKEN" not in env(found)
    assert any("does not ask for GITHUB_TOKEN" in text for text in found.warnings)
    assert any("chmod 600" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("text", "place"),
    [("PROBE_KEY", ":1"), ("\n1A=b", ":2"), ("A B=c", ":1"), ("A=b\0c", ":1"), ("=b", ":1"), ("É=1", ":1")],
)
def test_a_bad_line_is_told_by_its_number(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        prepare(agent="probe", env_file=tmp_path / "keys")
    assert f"keys{place}" in caught.value.message


@pytest.mark.parametrize("content", [b"\xff\xfe", b"#" * (2 << 20)])
def test_what_is_no_file_with_keys_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    for path in (tmp_path / "keys", tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigurationError):
            prepare(agent="probe", env_file=path)


@pytest.mark.parametrize("value", ["a\nb", "", {"a": "b"}, [1], None])
def test_a_bad_value_in_the_configuration_is_not_repeated(tmp_path: Path, value: object) -> None:
    file = tmp_path / "polis.yaml"
    file.write_text(json.dumps({"env": {"A_KEY": value, "B_KEY": f"{KEY}\n"}}))
    with pytest.raises(ConfigurationError) as caught:
        config.load({}, file=file, user_directory=tmp_path, environ={})
    assert "env.A_KEY" in caught.value.cause
    assert KEY not in caught.value.cause


# ── ports ────────────────────────────────────────────────────────────────────


def test_a_variable_moves_the_hosts_port_and_that_is_kept() -> None:
    assert prepared(KEYS, agent="probe").ports == ((9000, 9000),)
    moved = up({**KEYS, "PROBE_PORT": "19000"}, agent="probe")
    assert moved is not None
    assert moved.ports == ((19000, 9000),)
    assert "PROBE_PORT" not in env(moved)
    assert prepared().ports == ((19000, 9000),)


@pytest.mark.parametrize("text", ["0", "65536", "x", "-1", "9000 ", "٣"])
def test_a_port_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="PROBE_PORT is not a port"):
        prepare({**KEYS, "PROBE_PORT": text}, agent="probe")


def test_a_port_is_not_asked_for_twice() -> None:
    with pytest.raises(ConfigurationError, match="port 9000 of this machine is asked for twice") as caught:
        prepare(KEYS, agent="probe", ports=["9000:80"])
    assert "PROBE_PORT" in caught.value.hint
    assert prepared({**KEYS, "PROBE_PORT": "9001"}, agent="probe", ports=["9000:80"]).ports == ((9001, 9000),)


# ── the shelf ────────────────────────────────────────────────────────────────


def test_an_agent_is_replaced_only_when_told(tmp_path: Path, shelf: Shelf) -> None:
    same, other = (
        reading.read(tmp_path / "probe"),
        reading.read(agents.write(tmp_path / "x", {"metadata.version": "2"})),
    )
    assert shelf.add(same) is False
    with pytest.raises(UsageError, match="another agent probe"):
        shelf.add(other)
    assert shelf.get("probe").digest == same.digest
    assert shelf.add(other, replace=True) is True
    assert shelf.get("probe").digest == other.digest


def test_a_damaged_agent_is_refused_with_what_mends_it(shelf: Shelf) -> None:
    path = shelf.directory / "probe" / "agent.tar"
    for content in (path.read_bytes()[:1000], b"", (shelf.directory / "other" / "agent.tar").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError) as caught:
            shelf.get("probe")
        assert "--replace" in caught.value.hint
    assert shelf.names() == ["other", "probe"]


@pytest.mark.parametrize("name", ["../workspaces", "", "..", "/etc", "nobody", "Probe"])
def test_a_name_leads_nowhere_else(shelf: Shelf, name: str) -> None:
    stray = paths.find().config / "workspaces" / "agent.tar"
    stray.parent.mkdir(parents=True)
    stray.write_bytes((shelf.directory / "probe" / "agent.tar").read_bytes())
    for act in (shelf.get, shelf.remove):
        with pytest.raises(NotFound):
            act(name)
    assert stray.exists()


def test_a_removed_agent_leaves_nothing(shelf: Shelf) -> None:
    shelf.remove("probe")
    assert shelf.names() == ["other"]
    assert not (shelf.directory / "probe").exists()


def test_the_workspaces_that_have_an_agent_are_known(shelf: Shelf) -> None:
    up(KEYS, agent="probe")
    up(KEYS, agent="probe", name="second")
    up({"OTHER_KEY": "x"}, agent="other", name="third")
    (paths.find().secrets("third") / choice.FILE).write_text("damaged")
    assert shelf.users("probe") == ["polis", "second"]
    assert shelf.users("other") == []


def test_every_refusal_has_a_next_command() -> None:
    with pytest.raises(PolisError) as caught:
        prepare(agent="nobody")
    assert "polis agent" in caught.value.hint
