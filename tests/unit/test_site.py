"""Mirrors, proxy and certificates in the configuration: what is accepted, and what ends up in the document."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from polis import assembly, config, site
from polis.bundle import environment
from polis.cloudinit import checking, document
from polis.errors import ConfigurationError, HostUnsuitable
from tests.simulated import SimulatedDriver

KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n-----END PGP PUBLIC KEY BLOCK-----\n"
CA = "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n"

FILE = """\
registry: registry.example:5000/team
mirrors:
  archive: http://mirror.example/ubuntu
  docker: {location: http://mirror.example/docker, key: keys/docker.asc}
  sysbox: {places: [http://mirror.example/sysbox.deb], sha256: SHA}
  registry: {location: https://hub.example, ca: ca.pem}
proxy: {url: http://proxy.example:3128, no_proxy: [.example, 10.0.0.0/8]}
ca_certs: [ca.pem]
""".replace("SHA", "5a" * 32)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "docker.asc").write_text(KEY)
    (tmp_path / "ca.pem").write_text(CA)
    return tmp_path


def load(directory: Path, text: str, **environ: str) -> config.Spec:
    file = directory / "polis.yaml"
    file.write_text(text)
    return config.load({}, file=file, user_directory=directory, environ=environ)


def test_paths_start_at_the_file_that_names_them(directory: Path) -> None:
    found = site.overrides(load(directory, FILE))
    assert found.docker_key == KEY
    assert found.registry_ca == CA
    assert found.ca_certs == (CA,)
    assert found.docker_archive == "http://mirror.example/docker"
    assert found.sysbox_places == ("http://mirror.example/sysbox.deb",)
    assert found.registry == "registry.example:5000"
    proxies = dict(found.proxies)
    assert proxies["http"] == proxies["https"] == "http://proxy.example:3128"
    assert proxies["no"].endswith(",.example,10.0.0.0/8")


def test_without_any_there_is_nothing_to_edit(directory: Path) -> None:
    assert site.overrides(load(directory, "cpus: 2\n")).digest == ""


def test_the_environment_replaces_a_whole_key(directory: Path) -> None:
    spec = load(directory, FILE, POLIS_MIRRORS="{archive: 'http://other.example'}", POLIS_PROXY="http://p.example:1")
    found = site.overrides(spec)
    assert (found.archive, found.docker_archive) == ("http://other.example", "")
    assert dict(found.proxies)["https"] == "http://p.example:1"


@pytest.mark.parametrize(
    ("text", "proxies"),
    [
        ("http://p:1", {"http": "http://p:1", "https": "http://p:1"}),
        ("{url: 'http://p:1', https: 'http://q:2'}", {"http": "http://p:1", "https": "http://q:2"}),
        ("{http: 'http://p:1'}", {"http": "http://p:1"}),
        ("{https: 'http://q:2'}", {"https": "http://q:2"}),
    ],
)
def test_http_and_https_may_have_proxies_of_their_own(directory: Path, text: str, proxies: dict[str, str]) -> None:
    found = dict(site.overrides(load(directory, f"proxy: {text}\n")).proxies)
    del found["no"]
    assert found == proxies


def test_what_is_inside_the_vm_is_asked_for_without_a_proxy_whatever_is_configured(directory: Path) -> None:
    spec = load(directory, "proxy: {url: 'http://p:1', no_proxy: [.example]}\n")
    exceptions = dict(site.overrides(spec).proxies)["no"].split(",")
    assert {"localhost", "127.0.0.1", "10.10.1.0/24", "10.20.1.0/24", "10.30.1.0/24", ".example"} <= set(exceptions)
    compose = yaml.safe_load((resources.files("polis.bundle.default") / "docker-compose.yml").read_text())
    talking = {name for name, service in compose["services"].items() if service.get("networks")}
    assert talking <= set(exceptions), "a service that another one would look for behind the proxy"


def test_the_bundle_s_variables_name_the_proxies(directory: Path) -> None:
    none = environment.variables(version="v1", registry="r", image_suffix="")
    assert [none[f"POLIS_{name}_PROXY"] for name in ("HTTP", "HTTPS", "NO")] == ["", "", ""]
    spec = load(directory, "proxy: {https: 'http://q:2'}\n")
    given = environment.variables(version="v1", registry="r", image_suffix="", proxy=spec.proxy)
    assert (given["POLIS_HTTP_PROXY"], given["POLIS_HTTPS_PROXY"]) == ("", "http://q:2")
    assert "10.30.1.0/24" in given["POLIS_NO_PROXY"]


def test_each_certificate_of_a_file_is_installed_by_itself(directory: Path) -> None:
    other = CA.replace("abc", "def")
    (directory / "ca.pem").write_text(f"a remark\n{CA}# another\n{other}")
    assert site.overrides(load(directory, FILE)).ca_certs == (CA, other)


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("mirrors: {archive: ftp://x}", ":1:11", "http:// or https://"),
        ("mirrors: {archive: 'http://x y'}", ":1:11", "blanks"),
        ("mirrors: {archive: \"http://x/'; reboot '\"}", ":1:11", "blanks"),
        ("mirrors: {archive: 'http://x/$(id)'}", ":1:11", "quotes"),
        ("mirrors: {docker: {key: x}}", ":1:11", "mirrors.docker.location"),
        ("mirrors: {sysbox: {places: []}}", ":1:20", "at least 1"),
        ("mirrors: {sysbox: {places: [http://x], sha256: abc}}", ":1:40", "sha256"),
        ("mirrors: {registry: {location: http://x}}", ":1:22", "must be an https://"),
        ("mirrors: {dokcer: {}}", ":1:11", "unknown key"),
        ("proxy: http://me:secret@proxy:3128", ":1:1", "user name or password"),
        ("proxy: http://localhost:3128", ":1:1", "loopback"),
        ("proxy: {https: 'http://127.0.0.1:3128'}", ":1:1", "loopback"),
        ("proxy: {no_proxy: [.example]}", ":1:1", "needs an address"),
        ('proxy: {url: http://p, no_proxy: ["a\'b"]}', ":1:35", "no_proxy"),
    ],
)
def test_what_is_refused_before_anything_is_touched(directory: Path, text: str, place: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, text)
    assert f"polis.yaml{place}" in caught.value.message
    assert reason in caught.value.message


def test_a_password_in_a_proxy_s_address_is_not_repeated(directory: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, "proxy: http://me:secret@proxy:3128\n")
    assert "secret" not in f"{caught.value.message}{caught.value.cause}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("", "has no"),
        (KEY, "has no"),
        (f"{CA}-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n", "private key"),
        (CA * 10_000, "has no"),
    ],
)
def test_a_certificate_that_is_none(directory: Path, content: str | None, reason: str) -> None:
    path = directory / "ca.pem"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        site.overrides(load(directory, FILE))
    assert reason in caught.value.cause
    assert "abc" not in str(caught.value)


def test_an_edited_document_is_another_birth(directory: Path) -> None:
    def fingerprint(text: str) -> str:
        return assembly.SpecifiedBirth(load(directory, text), "qemu", "id").fingerprint

    assert fingerprint(FILE) != fingerprint("cpus: 2\n")
    assert fingerprint("registry: elsewhere.example\n") == fingerprint("cpus: 2\n")
    before = fingerprint(FILE)
    (directory / "ca.pem").write_text(CA.replace("abc", "def"))
    assert fingerprint(FILE) != before


@pytest.mark.parametrize("text", [FILE, "cpus: 2\n"], ids=["edited", "as it is"])
def test_what_is_sent_is_rendered_once_and_checked_once(
    directory: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []
    checked: list[str] = []
    render, check = document.Document.render, checking.check

    def rendering(wanted: document.Document) -> str:
        rendered.append(render(wanted))
        return rendered[-1]

    def counting(text: str, name: str) -> list[str]:
        checked.append(text)
        return check(text, name)

    monkeypatch.setattr(document.Document, "render", rendering)
    monkeypatch.setattr(checking, "check", counting)
    request = assembly.SpecifiedBirth(load(directory, text), "qemu", "id").request()
    assert rendered == checked == [request.user_data]


def test_an_edit_that_spoils_the_document_is_refused_by_the_order(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document.Document, "render", lambda _: "#cloud-config\nusers: {}\n")
    with pytest.raises(ConfigurationError, match=r"cloud-init.yaml, edited:2:1: `users` must be a list"):
        assembly.SpecifiedBirth(load(directory, FILE), "qemu", "id").request()


@pytest.mark.parametrize(("architecture", "refused"), [("amd64", False), (None, False), ("arm64", True)])
def test_only_amd64_machines_are_made(tmp_path: Path, architecture: str | None, refused: bool) -> None:
    from polis.drivers.base import Capabilities

    driver: Any = SimulatedDriver(path=tmp_path / "world.json", capabilities=Capabilities(architecture=architecture))
    if not refused:
        assert assembly.check(config.Spec(), driver) == []
        return
    with pytest.raises(HostUnsuitable, match="arm64") as caught:
        assembly.check(config.Spec(), driver)
    assert caught.value.exit_code == 69
