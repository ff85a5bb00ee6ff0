"""`polis config`: what holds and where it comes from, and the schema for editors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from polis import cli, config
from polis.cli import config as command
from polis.cli import config_schema
from polis.cli.globals import hoist
from polis.config import Spec
from polis.errors import ConfigurationError

ROOT = Path(__file__).parents[2]


def run(*words: str, **environ: str) -> Any:
    return CliRunner().invoke(cli.build(only="config"), hoist(words), prog_name="polis", env=environ)


def shown(*words: str, **environ: str) -> Any:
    return json.loads(run("config", "show", "--json", *words, **environ).stdout)["keys"]


def test_each_value_is_told_with_where_it_comes_from(tmp_path: Path) -> None:
    (tmp_path / "polis.yaml").write_text("memory: 4G\ncpus: 2\nversion: v1\n")
    keys = shown("-n", "other", POLIS_CPUS="3")
    assert keys["name"] == {"value": "other", "origin": "--name"}
    assert keys["cpus"] == {"value": 3, "origin": "POLIS_CPUS"}
    assert keys["memory"] == {"value": 4 << 30, "origin": "polis.yaml:1:1"}
    assert keys["version"]["origin"] == "polis.yaml:3:1"
    assert keys["disk"]["origin"] == "default"
    assert list(keys) == list(Spec.model_fields)
    text = run("config", "show").stdout
    assert "memory:       4G  # polis.yaml:1:1\n" in text
    assert "timeout:      900.0  # default\n" in text


def test_what_may_be_somebody_s_key_is_never_shown(tmp_path: Path) -> None:
    (tmp_path / "polis.yaml").write_text(
        "env: {MY_API_KEY: sesame-open, LOG_LEVEL: whisper}\n"
        f"image: {{location: 'https://user:pass-word@images.example/x', sha256: {'a' * 64}}}\n"
    )
    for words in (["config", "show"], ["config", "show", "--json"]):
        text = run(*words).output
        assert "MY_API_KEY" in text
        assert not [word for word in ("sesame", "whisper", "pass-word") if word in text]


def test_a_wrong_file_is_refused_as_up_refuses_it(tmp_path: Path) -> None:
    (tmp_path / "polis.yaml").write_text("memroy: 4G\n")
    result = run("config", "show", "--json")
    assert result.exit_code == 78
    assert "did you mean `memory`" in json.loads(result.stdout)["error"]["message"]


def test_the_path_is_that_of_the_file_that_is_read(tmp_path: Path, home: Path) -> None:
    none = run("config", "path")
    assert (none.exit_code, none.stdout) == (0, "")
    assert str(home / "config" / "polis.yaml") in none.stderr
    assert json.loads(run("config", "path", "--json").stdout)["path"] is None
    (tmp_path / "mine.yaml").touch()
    assert run("config", "path", "--config", "mine.yaml").stdout == "mine.yaml\n"
    assert run("config", "path", POLIS_CONFIG="nowhere.yaml").exit_code == 78


def test_a_file_is_begun_once(tmp_path: Path) -> None:
    assert run("config", "init").exit_code == 0
    text = (tmp_path / "polis.yaml").read_text()
    assert text.startswith(f"# yaml-language-server: $schema={config_schema.NAME}\n")
    assert json.loads((tmp_path / config_schema.NAME).read_text()) == config_schema.schema()
    assert config.load({}, file=None, user_directory=tmp_path / "no", environ={}) == Spec(), "it changes nothing yet"
    again = run("config", "init", "--json")
    assert again.exit_code == json.loads(again.stdout)["exit_code"] == 2
    assert (tmp_path / "polis.yaml").read_text() == text
    assert run("config", "init", "--in", "nowhere").exit_code == 69


def test_every_key_of_the_begun_file_can_be_uncommented(tmp_path: Path) -> None:
    lines = command.beginning(config_schema.schema()).splitlines()
    keys = [line.removeprefix("# ") for line in lines if re.match(r"# [a-z_]+: ", line)]
    assert [line.partition(":")[0] for line in keys] == list(Spec.model_fields)
    path = tmp_path / "whole.yaml"
    path.write_text("\n".join(keys))
    config.load({}, file=path, user_directory=tmp_path, environ={})
    check(path.read_text())


def test_the_schema_is_written_to_a_file(tmp_path: Path) -> None:
    assert run("config", "schema", "--write", "s.json").exit_code == 0
    printed = json.loads(run("config", "schema").stdout)
    assert json.loads((tmp_path / "s.json").read_text()) == printed
    assert run("config", "schema", "--write", "no/s.json").exit_code == 69
    assert json.loads(run("config", "schema", "--json", "--write", "t.json").stdout)["path"] == str(tmp_path / "t.json")


def check(text: str) -> None:
    document = YAML(typ="safe", pure=True).load(text) or {}
    jsonschema.validate(document, config_schema.schema(), cls=jsonschema.Draft202012Validator)


def test_the_schema_is_one_and_tells_of_every_key() -> None:
    schema = config_schema.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert list(schema["properties"]) == list(Spec.model_fields) == list(config_schema.DESCRIPTIONS)
    assert all(entry["description"] for entry in schema["properties"].values())


def documented() -> list[Any]:
    """Return the blocks of the documentation that are a polis.yaml: of known keys only, in the first column."""
    found = []
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", path.read_text(encoding="utf-8"), re.MULTILINE)
        fenced = re.findall(r"^```yaml\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for index, block in enumerate([*(re.sub(r"^    ", "", each, flags=re.MULTILINE) for each in blocks), *fenced]):
            keys = re.findall(r"^([a-z_]+):(?: |$)", block, re.MULTILINE)
            if keys and set(keys) <= set(Spec.model_fields) and not re.search(r"^[^a-z#\s\"'}\]]", block, re.MULTILINE):
                found.append(pytest.param(block, id=f"{path.name}-{index}"))
    return found


@pytest.mark.parametrize("text", [pytest.param((ROOT / "lab" / "polis.yaml").read_text(), id="lab"), *documented()])
def test_what_is_documented_and_used_fits_the_schema(text: str) -> None:
    whole = re.sub(r"(?<=sha256: )…", "a" * 64, text)
    for part in re.split(
        r"^(?=[a-z_]+:)", whole, flags=re.MULTILINE
    ):  # a key may be there twice, in two ways to write it
        check(part)


def test_examples_are_found_in_the_documentation() -> None:
    assert len(documented()) >= 3


ACCEPTED = [
    "cpus: 4", "cpus: '4'", "memory: 8G", "memory: 512MiB", "memory: 1.5g", "disk: 21474836480", "timeout: 15m",
    "timeout: 90", "timeout: 1.5h", "image: '24.04'", "image: here.json", f"image: {{location: a, sha256: {'a' * 64}}}",
    "driver: qemu", "driver: null", "ports: [8080, '18080:80', {host: 1, guest: 2}]", "ports: []",
    "retry: {attempts: 3, base: 2s}",
    "proxy: http://proxy.example:1", "proxy: {url: http://proxy.example:1}", "offline: a.tar", "offline: {file: a.tar}",
    "env: {A: b, C: 1, D: true}", "agent: ''", "agent: beacon", "ca_certs: [a.pem]", "mirrors: {archive: http://a.example}",
    "bundle: ./b", "image_suffix: -oss", "accel: tcg", "",
]  # fmt: skip

REFUSED = [
    "memroy: 8G", "cpus: four", "cpus: 0", "cpus: 513", "cpus: [4]", "memory: lots", "memory: [8G]", "memory: true",
    "disk: 8X", "timeout: soon", "timeout: {}", "image: '99'", "image: {location: a}",
    "image: {sha256: b, location: a}",
    "driver: virtualbox", "ports: 8080", "ports: [a]", "ports: [{host: 1}]", "ports: [70000]", "retry: 3",
    "retry: {attempts: 0}", "retry: {tries: 3}", "retry: {base: soon}", "proxy: 3", "proxy: {adress: a}", "offline: 3",
    "offline: {fil: a}", "env: [A]", "env: {A: [b]}", "agent: A_B", "ca_certs: a.pem", "mirrors: {arhcive: a}",
    "mirrors: {docker: {key: a}}", "name: a_b", "name: 3", "version: '%'", "accel: fast", "bundle: 3", "registry: ''",
    "image_suffix: A", "- a", "env_file: {a: b}",
]  # fmt: skip


def loads(text: str, directory: Path) -> bool:
    path = directory / "judged.yaml"
    path.write_text(text)
    try:
        config.load({}, file=path, user_directory=directory, environ={})
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize("text", ACCEPTED)
def test_the_schema_accepts_what_the_loader_accepts(text: str, tmp_path: Path) -> None:
    (tmp_path / "here.json").write_text(json.dumps({"location": "a", "sha256": "a" * 64}))
    assert loads(text, tmp_path)
    check(text)


@pytest.mark.parametrize("text", REFUSED)
def test_the_schema_refuses_what_the_loader_refuses(text: str, tmp_path: Path) -> None:
    assert not loads(text, tmp_path)
    with pytest.raises(jsonschema.ValidationError):
        check(text)
