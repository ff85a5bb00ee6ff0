from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from polis import vault
from polis.bundle.archive import DEFAULT
from polis.bundle.placed import PlacedFile

ONE_SHOTS = {"host-init", "scanner-init", "state-init"}
LASTING = {"resolver", "certgen", "gate", "sentinel", "scanner", "state", "toolbox", "workspace"}
IMAGES = LASTING | {"init"}
MACHINE = 8 * 2**30
SUBNETS = {
    "internal-bridge": "10.10.1.0/24",
    "gateway-bridge": "10.30.1.0/24",
    "external-bridge": "10.20.1.0/24",
}
FROM_CLI = {
    "POLIS_DNS_UPSTREAM",
    "POLIS_HTTP_PROXY",
    "POLIS_HTTPS_PROXY",
    "POLIS_IMAGE_SUFFIX",
    "POLIS_NO_PROXY",
    "POLIS_REGISTRY",
    *(f"POLIS_{image.upper()}_VERSION" for image in IMAGES),
}

TRUST = "/etc/ssl/certs/ca-certificates.crt"
STATES_CLIENT = {f"certs/valkey/{name}" for name in ("ca.crt", "client.crt", "client.key")}
PLACED = {
    "certgen": {"certs/interception/ca.pem", "certs/interception/ca.key"},
    "gate": {"certs/ca/ca.pem"},
    "sentinel": STATES_CLIENT | {f"secrets/valkey_{name}_password" for name in ("dlp", "reqmod", "respmod")},
    "state": STATES_CLIENT
    | {"certs/valkey/server.crt", "certs/valkey/server.key", "secrets/valkey_users.acl", "secrets/valkey_password"}
    | {"secrets/valkey_mcp_admin_password", "secrets/valkey_log_writer_password"},
    "toolbox": STATES_CLIENT
    | {"certs/toolbox/toolbox.pem", "certs/toolbox/toolbox.key", "secrets/valkey_mcp_agent_password"},
    "workspace": {"certs/ca/ca.pem"},
}
"""What each service is given of what polis places in `.polis`."""

TEXT = (DEFAULT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
every_service = pytest.mark.parametrize("name", sorted(SERVICES))
lasting_service = pytest.mark.parametrize("name", sorted(LASTING))


def networks(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = SERVICES[name].get("networks", {})
    return found


def placed(name: str) -> set[str]:
    """Return what a service gets of `.polis`, by mount or as a secret."""
    secrets = [COMPOSE["secrets"][secret]["file"] for secret in SERVICES[name].get("secrets", [])]
    sources = [mount.split(":")[0] for mount in SERVICES[name].get("volumes", [])]
    return {path.removeprefix("./.polis/") for path in [*secrets, *sources] if path.startswith("./.polis/")}


def test_there_are_eleven_services_from_nine_images() -> None:
    assert COMPOSE["name"] == "polis"
    assert set(SERVICES) == LASTING | ONE_SHOTS
    assert len({service["image"] for service in SERVICES.values()}) == 9


@every_service
def test_an_image_has_a_required_version_and_never_latest(name: str) -> None:
    image = "init" if name in ONE_SHOTS else name
    version = f"POLIS_{image.upper()}_VERSION"
    expected = f"${{POLIS_REGISTRY:?}}/polis-{image}${{POLIS_IMAGE_SUFFIX-}}:${{{version}:?}}"
    assert SERVICES[name]["image"] == expected
    assert "build" not in SERVICES[name]


def test_nothing_but_what_the_cli_writes_is_asked_for() -> None:
    assert set(re.findall(r"\$\{([A-Z_]+)", TEXT)) == FROM_CLI
    assert ":latest" not in TEXT


def test_one_shots_and_only_they_are_labelled_and_stay_down() -> None:
    assert {name for name, s in SERVICES.items() if s.get("labels", {}).get("polis.one-shot") == "true"} == ONE_SHOTS
    assert {name for name, s in SERVICES.items() if s["restart"] == "no"} == ONE_SHOTS
    assert {name for name, s in SERVICES.items() if "healthcheck" not in s} == ONE_SHOTS
    assert all(SERVICES[name]["restart"] == "unless-stopped" for name in LASTING)


@every_service
def test_every_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "devices" not in service
    assert service["pids_limit"] > 0
    assert service["read_only"] is (name != "workspace")
    assert service["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}


def test_capabilities_are_only_those_that_are_needed() -> None:
    assert {name: set(s["cap_add"]) for name, s in SERVICES.items() if "cap_add" in s} == {
        "gate": {"NET_ADMIN", "NET_RAW", "SETGID", "SETUID"},
        "host-init": {"NET_ADMIN"},
        "scanner-init": {"CHOWN", "DAC_OVERRIDE"},
        "state-init": {"CHOWN", "DAC_OVERRIDE"},
        "workspace": {"NET_ADMIN"},
    }


def test_lasting_services_run_as_nobody_unless_they_cannot() -> None:
    assert {name for name in LASTING if SERVICES[name].get("user") != "65532:65532"} == {"gate", "workspace"}
    assert SERVICES["workspace"]["runtime"] == "sysbox-runc"


def test_no_service_sees_docker_or_the_machine() -> None:
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source, *_, mode = mount.split(":")
            assert source.startswith("./") or source in COMPOSE["volumes"] or source == TRUST
            assert mode == "ro" or source in COMPOSE["volumes"]
        assert "pid" not in service
        assert "ipc" not in service
    assert {name for name, s in SERVICES.items() if s.get("network_mode") == "host"} == {"host-init"}


def test_no_seccomp_profile_is_loosened() -> None:
    assert "unconfined" not in TEXT


def test_memory_limits_fit_into_the_default_machine_together() -> None:
    limits = [int(service["mem_limit"].removesuffix("m")) * 2**20 for service in SERVICES.values()]
    assert len(limits) == 11
    assert sum(limits) <= 6.5e9 < MACHINE
    assert "reservation" not in TEXT


def test_subnets() -> None:
    declared = COMPOSE["networks"]
    assert set(declared) == {*SUBNETS, "internet"}
    assert {name: declared[name]["ipam"]["config"][0]["subnet"] for name in SUBNETS} == SUBNETS
    assert {name for name, network in declared.items() if network.get("internal")} == {
        "internal-bridge",
        "gateway-bridge",
    }


def test_no_address_is_left_to_chance() -> None:
    """After a reboot, containers start in any order: a dynamic address may be one that another service needs."""
    taken = []
    for network, subnet in SUBNETS.items():
        (config,) = COMPOSE["networks"][network]["ipam"]["config"]
        dynamic = IPv4Network(config["ip_range"])
        assert dynamic.subnet_of(IPv4Network(subnet))
        taken.append(IPv4Address(config["gateway"]))
        for name in SERVICES:
            if network in networks(name):
                address = IPv4Address(networks(name)[network]["ipv4_address"])
                assert address in IPv4Network(subnet)
                assert address not in dynamic
                taken.append(address)
    assert len(taken) == len(set(taken))


def test_only_the_gate_leads_out_of_the_workspace() -> None:
    """The resolver also has a foot outside, for names; it forwards nothing and cannot change that."""
    assert set(networks("workspace")) == {"internal-bridge"}
    outside = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}
    neighbours = {name for name in SERVICES if "internal-bridge" in networks(name)} - {"workspace"}
    assert {name for name in neighbours if outside & networks(name).keys()} == {"gate", "resolver"}
    for name in neighbours - {"gate"}:
        assert SERVICES[name]["sysctls"]["net.ipv4.ip_forward"] == "0"
        assert "cap_add" not in SERVICES[name]
        assert SERVICES[name]["user"] == "65532:65532"


def test_no_alias_is_shared() -> None:
    aliases = [
        alias for name in SERVICES for options in networks(name).values() for alias in options.get("aliases", [])
    ]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(SERVICES)


def test_names_in_the_workspace_come_from_the_resolver() -> None:
    assert SERVICES["workspace"]["dns"] == [networks("resolver")["internal-bridge"]["ipv4_address"]]


def test_the_upstream_is_the_users_choice() -> None:
    corefile = (DEFAULT / "services/resolver/Corefile").read_text()
    assert "forward . {$POLIS_DNS_UPSTREAM}" in corefile
    for path in DEFAULT.rglob("*"):
        assert path.is_dir() or "8.8.8.8" not in path.read_text()


def test_services_start_in_order() -> None:
    after = {
        name: {other: options["condition"] for other, options in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    done, healthy = "service_completed_successfully", "service_healthy"
    assert after["state"] == {"state-init": done}
    assert after["scanner"] == {"scanner-init": done}
    assert after["sentinel"] == {"scanner": healthy, "state": healthy}
    assert after["gate"] == {"host-init": done, "certgen": healthy, "resolver": healthy, "sentinel": healthy}
    assert after["toolbox"] == {"state": healthy}
    assert after["workspace"] == {"gate": healthy, "resolver": healthy}
    assert all(not after[name] for name in (*ONE_SHOTS, "resolver", "certgen"))


@lasting_service
def test_health_is_asked_often_at_first_and_seldom_later(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    seconds = {key: int(check[key].removesuffix("s")) for key in check if key not in ("test", "retries")}
    assert check["test"][0] == "CMD"
    assert seconds["start_interval"] == 2
    assert 10 <= seconds["interval"] <= 30
    assert seconds["start_period"] >= 60
    assert 10 <= seconds["timeout"] <= 15


def test_volumes_keep_their_names() -> None:
    assert {volume["name"] for volume in COMPOSE["volumes"].values()} == {"polis-scanner-db", "polis-state-data"}


def test_mounted_files_are_in_the_bundle_and_all_of_it_is_used() -> None:
    mounted = {
        mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", []) if mount[0] == "."
    }
    paths = {DEFAULT / source for source in mounted if not source.startswith("./.polis/")}
    assert all(path.exists() for path in paths)
    for path in DEFAULT.rglob("*"):
        used = path in paths or paths & set(path.parents) or path.name == "docker-compose.yml"
        assert path.is_dir() or used, path


def test_addresses_in_the_configurations_are_those_of_the_services() -> None:
    def address(service: str, network: str = "gateway-bridge") -> str:
        return str(networks(service)[network]["ipv4_address"])

    def text(path: str) -> str:
        return (DEFAULT / path).read_text()

    gate = text("services/gate/g3proxy.yaml")
    assert f"query_peer_addr: {address('certgen')}:2999" in gate
    assert gate.count(f"icap://{address('sentinel')}:1344/") == 2
    assert f"server: {address('resolver')}" in gate
    assert f"sentinel={address('sentinel')}\n" in text("health/gate.sh")
    assert f"clamd_ip {address('scanner')}\n" in text("services/sentinel/squidclamav.conf")
    assert SERVICES["workspace"]["environment"]["POLIS_GATE"] == address("gate", "internal-bridge")


def test_the_workspaces_bridge_is_the_one_that_is_opened() -> None:
    options = COMPOSE["networks"]["internal-bridge"]["driver_opts"]
    bridge = options["com.docker.network.bridge.name"]
    assert SERVICES["host-init"]["command"][-1] == bridge
    assert len(bridge) <= 15


def test_a_size_fits_into_the_next() -> None:
    def setting(path: str, key: str) -> int:
        found = re.search(rf"^{key} (\d+)(?:M|mb)$", (DEFAULT / path).read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    largest = setting("services/sentinel/squidclamav.conf", "maxsize")
    assert largest <= setting("services/scanner/clamd.conf", "StreamMaxLength")
    assert setting("services/state/valkey.conf", "maxmemory") < int(SERVICES["state"]["mem_limit"].removesuffix("m"))


@every_service
def test_a_service_gets_the_credentials_that_it_needs_and_no_others(name: str) -> None:
    assert placed(name) == PLACED.get(name, set())
    for mount in SERVICES[name].get("volumes", []):
        assert not mount.startswith("./.polis") or mount.endswith(":ro")


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, PlacedFile]:
    """Return what polis places in `.polis` for a new workspace."""
    kept = vault.Vault(tmp_path / "secrets")
    kept.renew("polis")
    credentials = kept.read()
    assert credentials is not None
    return credentials.files()


def test_every_credential_that_is_asked_for_is_placed_and_every_placed_one_used(
    files: Mapping[str, PlacedFile],
) -> None:
    asked = set().union(*(placed(name) for name in SERVICES))
    assert set(files) == asked


def test_credentials_can_be_read_by_who_gets_them_and_by_nobody_else(files: Mapping[str, PlacedFile]) -> None:
    """A mounted file keeps its owner and mode: `uid:` and `mode:` of a Compose secret do nothing."""
    for name in SERVICES:
        for path in placed(name):
            file = files[path]
            public = path.endswith((".crt", ".pem"))
            assert file.mode == (0o444 if public else 0o400), path
            assert public or SERVICES[name]["user"] == f"{file.owner}:{file.owner}"


def test_no_credential_is_in_an_environment_or_a_command() -> None:
    for service in SERVICES.values():
        words = [*service.get("environment", {}).items(), *service.get("command", [])]
        assert not re.search(r"(?i)password=|passwd|secret=", str(words))
    check = (DEFAULT / "health/state.sh").read_text()
    assert "REDISCLI_AUTH=$(cat /run/secrets/valkey_password)" in check
    assert not re.search(r"(^|\s)(-a|--pass)\s", check)


def test_the_state_is_reached_by_tls_only_and_by_known_clients_only() -> None:
    text = (DEFAULT / "services/state/valkey.conf").read_text()
    settings = dict(line.split(maxsplit=1) for line in text.splitlines() if line and line[0] != "#" and " " in line)
    assert settings["port"] == "0"
    assert settings["tls-port"] == "6379"
    assert settings["tls-auth-clients"] == "yes"
    targets = {mount.split(":")[1] for mount in SERVICES["state"]["volumes"]}
    assert {settings[f"tls-{part}-file"] for part in ("cert", "key", "ca-cert")} <= targets
    assert settings["aclfile"] == "/run/secrets/valkey_acl"
    assert SERVICES["toolbox"]["environment"]["polis_AGENT_VALKEY_URL"] == "rediss://state:6379"


def test_only_who_talks_to_the_world_has_its_proxies_and_authorities() -> None:
    names = {f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "NO")}
    wanted = {name: f"${{POLIS_{name.upper()}-}}" for name in names | {name.lower() for name in names}}
    for name, service in SERVICES.items():
        environment = service.get("environment", {})
        given = {key: value for key, value in environment.items() if key.upper() in names}
        trusts = f"{TRUST}:{TRUST}:ro" in service.get("volumes", [])
        assert given == (wanted if name in {"gate", "scanner"} else {})
        assert trusts is (name in {"gate", "scanner"})
        assert environment.get("SSL_CERT_FILE") == (TRUST if trusts else None)


@pytest.mark.parametrize(
    ("address", "world"),
    [
        ("0.0.0.1", False),
        ("10.0.2.2", False),  # the computer that runs the VM, as QEMU shows it
        ("10.30.1.4", False),
        ("10.10.1.1", False),
        ("100.64.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),  # the metadata service of a cloud
        ("172.17.0.1", False),
        ("192.0.0.170", False),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("224.0.0.251", False),
        ("255.255.255.255", False),
        ("1.1.1.1", True),
        ("9.255.255.255", True),
        ("11.0.0.0", True),
        ("100.128.0.0", True),
        ("172.32.0.1", True),
        ("203.0.113.10", True),
    ],
)
def test_the_gate_talks_to_the_world_only(address: str, *, world: bool) -> None:
    gate = YAML(typ="safe").load((DEFAULT / "services/gate/g3proxy.yaml").read_text())
    (escaper,) = gate["escaper"]
    rule = escaper["egress_network_filter"]
    assert rule["default"] == "permit"
    assert escaper["no_ipv6"] is True
    assert "::/0" in rule["forbid_log"]
    networks = [ip_network(text) for text in rule["forbid_log"]]
    assert any(ip_address(address) in network for network in networks) is not world
    assert {server["escaper"] for server in gate["server"]} == {escaper["name"]}


def test_no_network_has_ipv6() -> None:
    assert all(network["enable_ipv6"] is False for network in COMPOSE["networks"].values())
