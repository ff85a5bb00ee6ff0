"""Whatever polis.yaml and the environment hold: a valid Spec, or a ConfigurationError that names the place."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polis import assembly, config
from polis.cli import output
from polis.config import Spec
from polis.contents import SpecifiedContents
from polis.errors import ConfigurationError, PolisError
from polis.events import describe
from tests.fuzz import hostile_yaml, refusals
from tests.fuzz.damage import odd_text, spoilt
from tests.fuzz.effort import examples

VALID = """\
name: polis
driver: qemu
image: 24.04
cpus: 4
memory: 8G
disk: 20G
timeout: 15m
version: v1
registry: registry.example:5000/a
image_suffix: -x
bundle: bundle.tar
cloud_init: ci.yaml
accel: auto
retry:
  attempts: 3
  base: 2
  cap: 60s
  deadline: 10m
  silence: 90
ports:
  - 8080
  - host: 18080
    guest: 80
mirrors:
  archive: http://mirror.example/ubuntu
  docker:
    location: https://mirror.example/docker
    key: docker.asc
  sysbox:
    places: [https://one.example/sysbox.deb]
    sha256: 0000000000000000000000000000000000000000000000000000000000000000
  registry:
    location: https://hub.example
    ca: hub.pem
proxy:
  url: http://proxy.example:3128
  no_proxy: [.example]
ca_certs: [site.pem]
"""
VALUES = [line.partition(": ")[2] for line in VALID.splitlines() if not line.startswith(" ")]


def load(data: bytes | None, environ: Mapping[str, str]) -> Spec | ConfigurationError:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        file = None
        if data is not None:
            file = Path(directory) / "polis.yaml"
            file.write_bytes(data)
        try:
            return config.load({}, file=file, user_directory=Path(directory), environ=environ)
        except ConfigurationError as error:
            refusals.judge(error, naming="POLIS_" if file is None else "polis.yaml")
            return error


def judge(result: Spec | ConfigurationError, capsys: pytest.CaptureFixture[str]) -> None:
    if isinstance(result, Spec):
        times = (result.timeout, result.retry.base, result.retry.cap, result.retry.deadline, result.retry.silence)
        assert all(map(math.isfinite, times))
        assert "\0" not in result.image.location
        return
    output.error(result)
    output.document(describe(result))
    told = capsys.readouterr()
    assert all(char.isprintable() or char == "\n" for char in told.err)


@examples(250)
@given(data=hostile_yaml.spoilt(VALID))
@example(data=VALID.encode())
@example(data=b"bundle: ~nobody-of-this-name/x\n")
@example(data=b"image: {location: ~nobody-of-this-name/x, sha256: %064d}\n" % 0)
@example(data=b"memory: " + b"9" * 400)
@example(data=b"timeout: " + b"9" * 400)
@example(data=b"cpus: 0x" + b"f" * 5000)
@example(data=b"cpus: 0001-01-01T00:00:00+23:59")
@example(data=b"retry: &itself {base: *itself}")
@example(data=b"<<: {name: x}")
@example(data=b"name: !!str [a]")
@example(data=b'name: "\\UFFFFFFFF"')
@example(data=b"ports: [{[1, 2]: 3}]")
@example(data=b'name: "\\ud800"')
@example(data=b"proxy: 'http://['")
def test_no_file_is_a_traceback(data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    judge(load(data, {}), capsys)
    assert not Path("pwned").exists()


@pytest.mark.parametrize("bomb", hostile_yaml.BOMBS)
@pytest.mark.parametrize("key", ["name", "ports", "retry", "mirrors", "unknown"])
def test_a_bomb_is_refused_at_once(bomb: str, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    for result in (
        load(f"{key}: {hostile_yaml.BOMBS[bomb]}\n".encode(), {}),
        load(f"{key}:\n{hostile_yaml.BOMBS[bomb]}\n".encode(), {}),
    ):
        assert isinstance(result, ConfigurationError)
        judge(result, capsys)


keys = st.sampled_from(sorted(Spec.model_fields)).map(lambda key: f"POLIS_{key.upper()}")
settings_ = hostile_yaml.values | st.sampled_from(VALUES) | odd_text


@examples(250)
@given(environ=st.dictionaries(keys, settings_, max_size=3))
@example(environ={"POLIS_MEMORY": "9" * 400})
@example(environ={"POLIS_BUNDLE": "~nobody-of-this-name/x"})
@example(environ={"POLIS_IMAGE": f"{{location: ~nobody-of-this-name/x, sha256: '{0:064}'}}"})
@example(environ={"POLIS_CA_CERTS": "[~nobody-of-this-name/x]"})
@example(environ={"POLIS_PORTS": "[{[1, 2]: 3}]"})
@example(environ={"POLIS_PORTS": "0x" + "f" * 5000})
@example(environ={"POLIS_RETRY": "&itself {base: *itself}"})
@example(environ={"POLIS_RETRY": "0001-01-01T00:00:00+23:59"})
@example(environ={"POLIS_NAME": "\udcff"})
@example(environ={"POLIS_CA_CERTS": '"\\UFFFFFFFF"'})
@example(environ={"POLIS_IMAGE": f'{{location: "a\\0b", sha256: "{0:064}"}}'})
def test_no_environment_is_a_traceback(environ: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    judge(load(None, environ), capsys)


PART = {"location": "disk.qcow2", "sha256": "0" * 64}
DESCRIPTOR = {**PART, "kernel": PART, "initrd": None, "user": "debian", "alias": "", "cmdline": "console=ttyS0"}


@examples(150)
@given(content=spoilt(DESCRIPTOR))
@example(content=b"[" * 100_000)
@example(content=json.dumps({**PART, "location": "~nobody-of-this-name/x"}).encode())
def test_no_image_descriptor_is_a_traceback(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="polis-fuzz-") as directory:
        path = Path(directory) / "image.json"
        path.write_bytes(content)
        judge(load(None, {"POLIS_IMAGE": str(path)}), capsys)


@pytest.mark.parametrize("bomb", hostile_yaml.BOMBS)
def test_a_bomb_in_the_environment_is_refused_at_once(bomb: str, capsys: pytest.CaptureFixture[str]) -> None:
    for key in ("POLIS_RETRY", "POLIS_PORTS", "POLIS_NAME"):
        result = load(None, {key: hostile_yaml.BOMBS[bomb]})
        assert isinstance(result, ConfigurationError)
        judge(result, capsys)


@examples(80)
@given(environ=st.dictionaries(keys, settings_, max_size=3))
@example(environ={"POLIS_CLOUD_INIT": "a\0b"})
@example(environ={"POLIS_BUNDLE": "a\0b"})
@example(environ={"POLIS_CA_CERTS": '["a\\0b"]'})
@example(environ={"POLIS_MIRRORS": '{archive: "https://a\\0b"}'})
@example(environ={"POLIS_PROXY": '{url: "https://a\\ud800b"}'})
def test_what_is_accepted_can_be_ordered_or_is_refused_in_words(environ: dict[str, str]) -> None:
    spec = load(None, environ)
    if isinstance(spec, ConfigurationError):
        return
    try:
        assembly.SpecifiedBirth(spec, "qemu", "an id").request()
        _ = SpecifiedContents(spec).lock
    except PolisError as error:
        refusals.judge(error)
