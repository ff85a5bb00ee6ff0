"""The shipped cloud-init document: that it survives what tools do to it, and verifies what it downloads."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from polis.cloudinit import checking, document
from polis.cloudinit.overrides import Overrides
from polis.errors import ConfigurationError
from tests.requoting import without_quotes

DOCKER_FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
EVERYTHING = Overrides(
    archive="http://mirror.example/ubuntu",
    docker_archive="https://mirror.example/docker",
    docker_key="-----BEGIN PGP PUBLIC KEY BLOCK-----\nabc\n",
    sysbox_places=("https://one.example/sysbox.deb", "https://two.example/sysbox.deb"),
    sysbox_sha256="5" * 64,
    registry_mirror="https://hub.example:5000",
    registry_ca="-----BEGIN CERTIFICATE-----\nregistry\n",
    registry="registry.example:5001",
    proxies=(("http", "http://proxy.example:3128"), ("https", "http://other.example:1"), ("no", "10.0.0.0/8,.example")),
    ca_certs=("-----BEGIN CERTIFICATE-----\none\n", "-----BEGIN CERTIFICATE-----\ntwo\n"),
)


def shipped() -> str:
    return document.read(None).text


def parsed(text: str) -> dict[str, Any]:
    """Parse as cloud-init does."""
    value = yaml.safe_load(text)
    assert isinstance(value, dict)
    return value


def file(values: dict[str, Any], path: str) -> str:
    (content,) = [entry["content"] for entry in values["write_files"] if entry["path"] == path]
    assert isinstance(content, str)
    return content


@pytest.mark.parametrize("overrides", [Overrides(), EVERYTHING], ids=["shipped", "edited"])
def test_it_means_the_same_without_its_quotes_and_comments(overrides: Overrides) -> None:
    text = document.read(None, overrides).render()
    assert parsed(without_quotes(text)) == parsed(text)


def test_the_imitation_of_multipass_does_lose_quotes() -> None:
    assert parsed(without_quotes("permissions: '0644'\nname: \"yes\"\n")) == {"permissions": 420, "name": True}


@pytest.mark.parametrize("overrides", [Overrides(), EVERYTHING], ids=["shipped", "edited"])
def test_it_passes_its_own_check_without_a_warning(overrides: Overrides) -> None:
    assert checking.check(document.read(None, overrides).render(), "shipped") == []


def test_it_is_small_enough_for_every_cloud_with_all_edits() -> None:
    assert len(document.read(None, EVERYTHING).render().encode()) < 16 * 1024


def packets(armoured: str) -> bytes:
    body = armoured.partition("\n\n")[2].partition("\n=")[0]
    return base64.b64decode(body)


def fingerprint(armoured: str) -> str:
    """Return the v4 fingerprint of the first key (RFC 4880, section 12.2)."""
    data = packets(armoured)
    assert data[0] == 0x99, "an old-format public key packet with a length of two bytes"
    length = int.from_bytes(data[1:3])
    return hashlib.sha1(data[: 3 + length]).hexdigest().upper()  # noqa: S324 -- that is what a fingerprint is


def test_the_key_that_it_ships_is_dockers() -> None:
    key = file(parsed(shipped()), "/etc/apt/keyrings/docker.asc")
    assert fingerprint(key) == DOCKER_FINGERPRINT
    assert key.count("BEGIN PGP PUBLIC KEY BLOCK") == 1


def test_every_address_has_a_guard() -> None:
    values = parsed(shipped())
    found = set(re.findall(r"[a-z]+://[^\s\"']+", yaml.safe_dump(values, width=4096)))
    guarded = set()
    source = file(values, "/etc/apt/sources.list.d/docker.list")
    key = re.search(r"\[signed-by=(\S+)\]", source)
    assert key is not None
    assert fingerprint(file(values, key[1])) == DOCKER_FINGERPRINT
    guarded |= set(re.findall(r"https://\S+", source))
    assert re.fullmatch(r"[0-9a-f]{64}\n", file(values, "/etc/polis/sysbox.sha256"))
    guarded |= set(file(values, "/etc/polis/sysbox.places").split())
    assert found == guarded
    assert all(address.startswith("https://") for address in found)


def test_what_is_fetched_is_compared_before_it_is_used() -> None:
    (script,) = parsed(shipped())["runcmd"]
    fetching = [line for line in script.splitlines() if re.search(r"\b(curl|wget)\b", line)]
    assert len([line for line in fetching if "curl -fsSL" in line]) == 1
    assert not any("|" in line and "||" not in line for line in fetching), "nothing is piped into a shell"
    assert script.index("sha256sum $deb") < script.index("install $deb")
    assert "--allow-unauthenticated" not in script
    assert [line for line in fetching if " -k" in line] == [line for line in fetching if " -ksvI " in line], (
        "without belief a server is asked for its name, and for nothing else"
    )
    assert "trusted=yes" not in shipped()


def test_versions_are_those_that_the_checks_demand() -> None:
    from polis.guest import checks

    (script,) = parsed(shipped())["runcmd"]
    for check in checks.catalogue():
        package = check.look.get("package")
        if package in ("docker-ce", "docker-ce-cli", "docker-compose-plugin"):
            assert f"{package}={check.look['version']}" in script
        if "held" in check.look:
            assert f"apt-mark hold {' '.join(check.look['held'])}\n" in script


def test_audit_rules_are_those_that_the_checks_demand() -> None:
    from polis.guest import checks

    (demanded,) = [check.look["audit"] for check in checks.catalogue() if "audit" in check.look]
    rules = file(parsed(shipped()), "/etc/audit/rules.d/50-docker.rules")
    assert [line.split()[1] for line in rules.splitlines()] == demanded


def test_sysctl_values_are_those_that_the_checks_demand() -> None:
    from polis.guest import checks

    settings = dict(
        line.split(" = ") for line in file(parsed(shipped()), "/etc/sysctl.d/99-polis-hardening.conf").splitlines()
    )
    demanded = {
        check.look["text"].removeprefix("/proc/sys/").replace("/", "."): check.look["equals"]
        for check in checks.catalogue()
        if str(check.look.get("text", "")).startswith("/proc/sys/")
    }
    assert settings == demanded


def test_the_engine_is_configured_as_sysbox_needs_it() -> None:
    settings = json.loads(file(parsed(shipped()), "/etc/docker/daemon.json"))
    assert settings["runtimes"] == {"sysbox-runc": {"path": "/usr/bin/sysbox-runc"}}
    assert settings["no-new-privileges"] is True
    assert settings["userland-proxy"] is False
    assert "live-restore" not in settings


@pytest.mark.processes
def test_its_script_is_clean(tmp_path: Path) -> None:
    (script,) = parsed(shipped())["runcmd"]
    path = tmp_path / "provision.sh"
    path.write_text("#!/bin/sh\n" + script)
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_without_edits_it_is_sent_byte_for_byte() -> None:
    wanted = document.read(None)
    assert wanted.render() == wanted.text
    assert wanted.fingerprint.startswith(wanted.text)


def test_each_edit_is_where_cloud_init_or_the_script_looks_for_it() -> None:
    values = parsed(document.read(None, EVERYTHING).render())
    assert values["apt"]["primary"] == [{"arches": ["default"], "uri": "http://mirror.example/ubuntu"}]
    assert values["apt"]["security"] == values["apt"]["primary"]
    assert file(values, "/etc/apt/sources.list.d/docker.list") == (
        "deb [signed-by=/etc/apt/keyrings/docker.asc] https://mirror.example/docker noble stable\n"
    )
    assert file(values, "/etc/apt/keyrings/docker.asc") == EVERYTHING.docker_key
    assert file(values, "/etc/polis/sysbox.places").split() == list(EVERYTHING.sysbox_places)
    assert file(values, "/etc/polis/sysbox.sha256").strip() == EVERYTHING.sysbox_sha256
    assert file(values, "/etc/docker/certs.d/registry.example:5001/ca.crt") == EVERYTHING.registry_ca
    assert file(values, "/etc/docker/certs.d/hub.example:5000/ca.crt") == EVERYTHING.registry_ca
    daemon = json.loads(file(values, "/etc/docker/daemon.json"))
    assert daemon["registry-mirrors"] == ["https://hub.example:5000"]
    assert daemon["proxies"] == {
        "http-proxy": "http://proxy.example:3128",
        "https-proxy": "http://other.example:1",
        "no-proxy": "10.0.0.0/8,.example",
    }
    assert daemon["runtimes"] == {"sysbox-runc": {"path": "/usr/bin/sysbox-runc"}}
    assert values["apt"]["http_proxy"] == "http://proxy.example:3128"
    assert values["apt"]["https_proxy"] == "http://other.example:1"
    assert "no_proxy" not in values["apt"]
    assert file(values, "/etc/polis/proxy.sh").splitlines() == [
        "export http_proxy='http://proxy.example:3128'",
        "export https_proxy='http://other.example:1'",
        "export no_proxy='10.0.0.0/8,.example'",
    ]
    assert values["ca_certs"] == {"trusted": list(EVERYTHING.ca_certs)}


def test_with_a_medium_everything_comes_from_it_and_the_pins_stay() -> None:
    values = parsed(document.read(None, replace(EVERYTHING, medium=True)).render())
    before = parsed(document.read(None, EVERYTHING).render())
    assert file(values, "/etc/polis/sysbox.places") == "file:///run/polis-medium/sysbox.deb\n"
    assert file(values, "/etc/polis/sysbox.sha256").strip() == EVERYTHING.sysbox_sha256
    label, place = file(values, "/etc/polis/medium").split()
    assert place == "/run/polis-medium"
    assert file(values, "/etc/polis/medium.list") == f"deb [trusted=yes] copy:{place} ./\n"
    options = file(values, "/etc/polis/medium-apt.conf")
    assert 'Dir::Etc::sourcelist "/etc/polis/medium.list";' in options
    assert 'Dir::Etc::sourceparts "-";' in options, "no other source is asked"
    for kept in ("/etc/apt/preferences.d/polis-containerd", "/etc/apt/sources.list.d/docker.list"):
        assert file(values, kept) == file(before, kept)
    assert values["runcmd"] == before["runcmd"]
    assert len(label) <= 32, "as long as a label may be"


def test_where_packages_come_from_is_not_in_the_fingerprint_but_is_sent() -> None:
    edited = document.read(None, Overrides(medium=True))
    assert edited.fingerprint == document.read(None).fingerprint
    assert edited.render() != shipped()


def test_an_edit_changes_nothing_else() -> None:
    before, after = parsed(shipped()), parsed(document.read(None, Overrides(sysbox_sha256="5" * 64)).render())
    for entry in (*before["write_files"], *after["write_files"]):
        if entry["path"] == "/etc/polis/sysbox.sha256":
            entry["content"] = ""
    assert before == after


@pytest.mark.parametrize("name", sorted(set(Overrides.__dataclass_fields__) - {"registry", "medium"}))
def test_each_edit_changes_the_fingerprint_and_the_text(name: str) -> None:
    values: dict[str, Any] = {name: getattr(EVERYTHING, name), "registry": "registry.example:5001"}
    edited = document.read(None, Overrides(**values))
    assert edited.fingerprint != document.read(None).fingerprint
    assert edited.render() != shipped()


def test_the_registry_alone_changes_no_vm() -> None:
    moved = document.read(None, Overrides(registry="elsewhere.example"))
    assert moved.fingerprint == document.read(None).fingerprint
    assert moved.render() == shipped()


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        (Overrides(docker_archive="http://m.example"), "mirrors.docker"),
        (Overrides(docker_key="x"), "mirrors.docker.key"),
        (Overrides(sysbox_places=("http://m.example",)), "mirrors.sysbox.places"),
        (Overrides(sysbox_sha256="5" * 64), "mirrors.sysbox.sha256"),
        (Overrides(registry_mirror="https://m.example"), "mirrors.registry"),
        (Overrides(proxies=(("http", "http://p.example"),)), "proxy"),
    ],
)
def test_a_document_without_a_place_for_an_edit_is_refused(tmp_path: Path, overrides: Overrides, key: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("#cloud-config\nusers: [default]\n")
    with pytest.raises(ConfigurationError, match=key.replace(".", r"\.")):
        document.read(path, overrides).render()


def test_a_document_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            document.read(path)
