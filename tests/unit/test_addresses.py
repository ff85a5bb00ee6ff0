"""Logins and signatures in addresses: none is repeated by any message, and no address with one goes into the VM."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from polis import addresses, assembly, cli, config, config_sources, events, redaction
from polis.cli.globals import hoist
from polis.config_site import ProxySpec
from polis.drivers.base import Artifact, Image
from polis.drivers.multipass import images as multipass_images
from polis.drivers.multipass.host import Host
from polis.drivers.qemu import download, images
from polis.drivers.qemu.images import ImageCache
from polis.errors import ConfigurationError, LaunchFailed, PolisError, Transient
from polis.retry import Backoff
from tests.simulated import SimulatedDriver

HASH = "a" * 64
ADDRESSES = [
    "https://user:p@ssw0rdSECRET@images.example/x.img",
    "https://user:pa/ssw0rdSECRET@images.example/x.img",
    "https://tokenSECRET@images.example/x.img",
    "https://images.example/x.img?X-Amz-Signature=0123456789SECRET&sig=9876543210SECRET",
    "https://user:it's a SECRET@images.example/x.img",
    "https://user:%53ECRET-%53ECRET@images.example/x.img",
]


@pytest.fixture(autouse=True)
def nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hidden", set())


def told(error: PolisError) -> str:
    return f"{error.message} {error.cause} {error.remains} {error.hint}"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:p@ss/word@h/x?sig=a b", "https://[redacted]@h/x?[redacted] b"),
        ("https://h/x", "https://h/x"),
        ("https://h/x?", "https://h/x?"),
        ("/srv/images/a@b?c", "/srv/images/a@b?c"),
        ("", ""),
    ],
)
def test_login_and_query_of_an_address_are_struck_out(url: str, expected: str) -> None:
    assert addresses.without_credentials(url) == expected
    assert addresses.without_credentials(expected) == expected


@pytest.mark.parametrize("address", ADDRESSES)
def test_config_show_shows_none(tmp_path: Path, address: str) -> None:
    part = {"location": address, "sha256": HASH}
    (tmp_path / "polis.yaml").write_text(json.dumps({"image": {**part, "kernel": part, "initrd": part}}))
    for words in (["config", "show"], ["config", "show", "--json"]):
        redaction._hidden.clear()
        result: Any = CliRunner().invoke(cli.build(only="config"), hoist(words), prog_name="polis")
        assert result.exit_code == 0, result.output
        assert "SECRET" not in result.output
        assert result.output.count("images.example/x.img") == 3


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("key", ["image", "proxy", "ports", "registry", "offline"])
def test_a_refusal_repeats_none(tmp_path: Path, address: str, key: str) -> None:
    for value in (address, [address], f"{address}.json"):
        file = tmp_path / "polis.yaml"
        file.write_text(json.dumps({"cpus": 0, key: value}))
        with pytest.raises(ConfigurationError) as caught:
            config.load({}, file=file, user_directory=tmp_path, environ={})
        assert "SECRET" not in json.dumps(events.describe(caught.value))


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_was_got_is_told_without_one_before_anything_is_hidden(address: str) -> None:
    for value in (address, [address]):
        problem = {"loc": ("proxy",), "type": "value_error", "msg": "Value error, Odd", "input": value}
        assert config_sources.locate(problem, {}, ()).startswith("configuration: `proxy`: odd (got ")
        assert "SECRET" not in config_sources.locate(problem, {}, ())


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("key", ["location", "kernel", "initrd"])
@pytest.mark.parametrize("is_described", [True, False])
def test_what_is_loaded_is_struck_out_of_what_others_say(
    tmp_path: Path, address: str, key: str, is_described: bool
) -> None:
    image: dict[str, Any] = {"location": "x", "sha256": HASH}
    image[key] = address if key == "location" else {**image, "location": address}
    (tmp_path / "image.json").write_text(json.dumps(image))
    file = tmp_path / "polis.yaml"
    file.write_text(json.dumps({"image": "image.json" if is_described else image}))
    config.load({}, file=file, user_directory=tmp_path, environ={})
    login, _, _ = address.removeprefix("https://").rpartition("@")
    for secret in (login, login.partition(":")[2], *address.partition("?")[2].split("&")):
        assert "SECRET" not in redaction.redact(f"invalid {secret.partition('=')[2] or secret}")


@pytest.mark.parametrize("address", ["http://u:pa/ssSECRET@proxy:3128", "http://TOKEN@proxy", "http://u:p@ss@proxy:1"])
def test_no_address_for_the_vm_may_hold_a_login(address: str) -> None:
    with pytest.raises(ValueError, match="must not hold a user name or password"):
        ProxySpec.model_validate(address)


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_error_of_the_cache_repeats_one(tmp_path: Path, address: str) -> None:
    for location, sha256 in ((address, "no"), (address.replace("https", "http"), HASH)):
        with pytest.raises(ConfigurationError) as caught:
            ImageCache(tmp_path).fetch(Artifact(location, sha256), on_progress=print)
        assert "SECRET" not in told(caught.value)
        assert "images.example" in told(caught.value)
    assert "SECRET" not in told(images._mismatch(Artifact(address, HASH), "b" * 64))


@pytest.mark.parametrize("address", [f"{each.replace('images.example', '127.0.0.1:1')}" for each in ADDRESSES])
def test_no_error_of_a_download_repeats_one(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    progress: list[str] = []
    backoff = Backoff(attempts=2, base=0.0, cap=0.0, deadline=1.0)
    with pytest.raises((ConfigurationError, Transient)) as caught:
        download.download(
            address, tmp_path / "part", on_progress=progress.append, backoff=backoff, sleep=lambda _: None
        )
    assert "SECRET" not in told(caught.value) + "".join(progress)


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_the_driver_says_of_one_is_written_nowhere(
    tmp_path: Path, home: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interfere(call: str, moment: str) -> None:
        if call == "launch":
            raise LaunchFailed(f"cannot launch {address}", cause=f"`launch {address}` ended with 2")

    driver = SimulatedDriver(path=tmp_path / "world.json", interfere=interfere)
    monkeypatch.setattr(assembly, "driver", lambda *_, **__: driver)
    (tmp_path / "polis.yaml").write_text(json.dumps({"image": {"location": address, "sha256": HASH}}))
    for words in (["up"], ["up", "--json"], ["status", "--json"]):
        result: Any = CliRunner().invoke(cli.build(only=words[0]), hoist(words), prog_name="polis")
        assert "SECRET" not in result.output
        assert "cannot launch https://" in result.output
    written = {path.name: path.read_text(errors="replace") for path in home.rglob("*") if path.is_file()}
    assert {"polis.log", "journal.jsonl", "state.json"} <= set(written)
    assert [name for name, text in written.items() if "SECRET" in text] == []


@pytest.mark.parametrize("address", ADDRESSES)
def test_nothing_that_multipass_is_about_repeats_one(address: str) -> None:
    disclosed: list[str] = []
    host = Host("linux")
    image = Image(disk=Artifact(address, HASH), kernel=Artifact("/k", HASH))
    assert multipass_images.argument(image, host, disclosed.append) == address
    with pytest.raises(PolisError) as caught:
        multipass_images.refuse_unbootable(image)
    assert "SECRET" not in told(caught.value) + "".join(disclosed)
    assert disclosed
