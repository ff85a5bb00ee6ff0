from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from ruamel.yaml import YAML

from polis.bundle.archive import DEFAULT

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
    "POLIS_IMAGE_SUFFIX",
    "POLIS_REGISTRY",
    *(f"POLIS_{image.upper()}_VERSION" for image in IMAGES),
}

TEXT = (DEFAULT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
every_service = pytest.mark.parametrize("name", sorted(SERVICES))
lasting_service = pytest.mark.parametrize("name", sorted(LASTING))


def networks(name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = SERVICES[name].get("networks", {})
    return found


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
            assert source.startswith("./") or source in COMPOSE["volumes"]
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
    paths = {DEFAULT / source for source in mounted}
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
