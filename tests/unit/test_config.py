from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polis import config
from polis.errors import ConfigurationError


def load(text: str | None, tmp_path: Path, flags: dict[str, Any] | None = None, **environ: str) -> config.Spec:
    file = None
    if text is not None:
        file = tmp_path / "polis.yaml"
        file.write_text(text)
    return config.load(flags or {}, file=file, user_directory=tmp_path / "none", environ=environ)


def refusal(text: str, tmp_path: Path, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(text, tmp_path, None, **environ)
    assert caught.value.exit_code == 78
    return f"{caught.value.message}\n{caught.value.cause}"


def test_the_defaults_are_the_specified_ones(tmp_path: Path) -> None:
    spec = load(None, tmp_path)
    assert (spec.name, spec.cpus, spec.memory, spec.disk, spec.timeout) == ("polis", 4, 8 << 30, 20 << 30, 900)
    assert spec.registry == "ghcr.io/odralabshq"
    assert spec.image.location.startswith("https://")


def test_a_flag_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    text = "version: v1\ncpus: 1\nmemory: 1G\n"
    spec = load(text, tmp_path, {"version": "v3"}, POLIS_VERSION="v2", POLIS_CPUS="2")
    assert (spec.version, spec.cpus, spec.memory) == ("v3", 2, 1 << 30)


def test_an_unknown_key_is_named_with_its_place_and_the_nearest_valid_one(tmp_path: Path) -> None:
    text = refusal("name: polis\nmemroy: 3G\n", tmp_path)
    assert f"{tmp_path}/polis.yaml:2:1" in text
    assert "did you mean `memory`?" in text


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = refusal("cpus: 0\ndisk: 5\nports: [99999]\nretry: {attempts: 0, foo: 1}\n", tmp_path)
    for place in ("polis.yaml:1:1", "polis.yaml:2:1", "polis.yaml:3:9", "polis.yaml:4:9", "polis.yaml:4:22"):
        assert place in text


@pytest.mark.parametrize(
    "line",
    [
        "memory: 8X", "memory: -1G", "memory: 1M", "memory: []", "memory: true", "disk: 1G", "disk: 9999999T",
        "cpus: many", "timeout: soon", "timeout: -5", "name: -x", "name: a_b", "name: ''", f"name: {'a' * 64}",
        "driver: vmware", "version: 'a b'", "version: latest:1", "registry: 'http://x y'", "registry: 'a\"$(id)'",
        "image_suffix: ' x'", "ports: [80, 80]", "ports: ['x:y']", "accel: fast", "image: nosuch",
        "image: {location: x}", "image: {location: 'http://h/x', sha256: " + "0" * 64 + "}",
        "image: {location: x, sha256: abc}", "bundle: [1]",
    ],
)  # fmt: skip
def test_an_impossible_value_is_refused_with_its_place(tmp_path: Path, line: str) -> None:
    assert f"{tmp_path}/polis.yaml:1:" in refusal(line + "\n", tmp_path)


@pytest.mark.parametrize("text", ["{", "a: b: c", "- 1", "text", "a: 1\na: 2", "a: *b", "\t", "key: [1,"])
def test_what_is_no_mapping_is_refused_with_line_and_column(tmp_path: Path, text: str) -> None:
    assert "polis.yaml:" in refusal(text, tmp_path)


def test_an_environment_variable_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    assert "POLIS_MEMORY" in refusal("cpus: 1\n", tmp_path, POLIS_MEMORY="lots")


def test_structured_keys_come_from_the_environment_as_yaml(tmp_path: Path) -> None:
    spec = load(None, tmp_path, POLIS_RETRY="{attempts: 2}", POLIS_PORTS="['18080:8080', 9000]")
    assert spec.retry.attempts == 2
    assert [(port.host, port.guest) for port in spec.ports] == [(18080, 8080), (9000, 9000)]


def test_paths_start_from_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "lab").mkdir()
    file = tmp_path / "lab" / "polis.yaml"
    file.write_text("bundle: ../mine\ncloud_init: ci.yaml\n")
    spec = config.load({}, file=file, user_directory=tmp_path, environ={})
    assert spec.bundle == tmp_path / "lab" / "../mine"
    assert spec.cloud_init == tmp_path / "lab" / "ci.yaml"


def test_an_image_descriptor_s_paths_start_from_the_descriptor(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    part = {"location": "x/disk.qcow2", "sha256": "0" * 64}
    (tmp_path / "images" / "image.json").write_text(json.dumps({**part, "kernel": part, "user": "debian"}))
    spec = load("image: images/image.json\n", tmp_path)
    assert spec.image.location == str(tmp_path / "images" / "x" / "disk.qcow2")
    assert spec.image.kernel is not None
    assert spec.image.kernel.location == spec.image.location
    assert spec.image.user == "debian"


@pytest.mark.parametrize("content", [None, "{", '{"location": "x"}', '{"location": "x", "sha256": "zz", "more": 1}'])
def test_a_bad_image_descriptor_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "image.json").write_text(content)
    assert "polis.yaml:1:1" in refusal("image: image.json\n", tmp_path)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError):
        config.load({}, file=tmp_path / "no.yaml", user_directory=tmp_path, environ={})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8G", 8 << 30), ("512MiB", 512 << 20), ("1.5g", 3 << 29), ("4096", 4096), ("10 KB", 10240), ("2T", 2 << 40)],
)
def test_sizes(text: str, expected: int) -> None:
    assert config.size(text) == expected


@given(st.text(max_size=200))
def test_no_file_is_a_traceback(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "polis.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        config.load({}, file=file, user_directory=file.parent, environ={})
    except ConfigurationError as error:
        said = f"{error.message} {error.cause}"
        if "polis.yaml" not in said:
            pytest.fail(f"the error does not name the file: {said}")
