"""The inside of a simulated machine: what each command of `polis.guest.remote` does to it.

A changing command is a generator: each `yield` is a moment at which it is half done. Killed there, it leaves what a
real guest would leave.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from tests.simulated.world import Machine

Arguments = dict[str, Any]
Answer = dict[str, Any]
Steps = Generator[None, None, Answer]

SERVICES = {"init": True, "gate": False, "workspace": False}
"""The simulated stack: one one-shot service, two that stay."""


BOOT = {
    "uptime_s": 0.004,
    "stages": [
        {"name": "kernel", "start_s": 0.0, "end_s": 0.001},
        {"name": "systemd", "start_s": 0.001, "end_s": 0.002},
        {"name": "init-local", "start_s": 0.002, "end_s": 0.003},
        {"name": "modules-final", "start_s": 0.003, "end_s": 0.004},
    ],
}
"""Where the time of a simulated boot goes."""


@dataclass
class Conditions:
    """What is not as it should be in and around the guest."""

    refuse_pull: dict[str, str] = field(default_factory=dict)
    """Image reference (or a part of it) → the engine's error text."""
    probes_without_docker: int = 0
    """How many more probes find an engine that is still starting."""
    failing: dict[str, str] = field(default_factory=dict)
    """Checks of the guest that do not pass, and what they saw."""
    mishap: dict[str, str] | None = None
    """Why the first boot gave up; there is no sentinel then."""
    sick: set[str] = field(default_factory=set)
    """Services that start but are never healthy."""
    printed: dict[str, list[str]] = field(default_factory=dict)
    """What each source of `polis.guest.remote.logs` has, or a service by its name."""
    claims: dict[str, object] = field(default_factory=dict)
    """What the guest says of itself beyond what it is asked."""
    in_vain: set[str] = field(default_factory=set)
    """Commands that report success and do nothing."""


def probe(machine: Machine, arguments: Arguments, now: Conditions) -> Answer:
    bundle = machine["bundle"]
    expected = bundle["services"] if bundle else []
    references = {service["image"] for service in expected}
    placed = (
        {key: bundle[key] for key in ("digest", "intact", "restored")} | bundle["marker"]
        if _is_placed(bundle)
        else None
    )
    return {
        "boot_id": machine["boot_id"],
        "marker": machine["marker"],
        "cloud_init": {"finished": machine["provisioned"]},
        "sentinel": {"docker": "26"} if machine["provisioned"] and now.mishap is None else None,
        "bundle": placed,
        "leftovers": [name for name in ("bundle", "staged") if machine[name]],
        "expected": expected,
        "kept": _kept(machine),
        "images": [
            {"reference": reference, "id": identity, "digests": [f"{reference.rpartition(':')[0]}@{identity}"]}
            for reference, identity in machine["images"].items()
            if reference in references or not references
        ],
        "containers": list(machine["containers"].values()),
        "docker": _docker(now),
        "mishap": now.mishap,
        "checks": [
            {"name": name, "ok": name not in now.failing, "expected": "1", "actual": now.failing.get(name, "1")}
            for name in (check["name"] for check in arguments["checks"])
        ],
        **now.claims,
    }


def _kept(machine: Machine) -> dict[str, list[str]]:
    bundle = machine["bundle"]
    release = bundle if _is_placed(bundle) and bundle["restored"] else machine["previous"]
    services = release["services"] if release else []
    return {
        "config_hashes": [service["config_hash"] for service in services],
        "images": [service["image"] for service in services],
    }


def _is_placed(bundle: dict[str, Any] | None) -> bool:
    return bundle is not None and bundle["marker"] is not None


def _docker(now: Conditions) -> dict[str, Any]:
    if now.probes_without_docker > 0:
        now.probes_without_docker -= 1
        return {"error": "the Docker engine does not answer: connection refused"}
    return {"version": "26"}


def wait(machine: Machine, _arguments: Arguments, _now: Conditions) -> Steps:
    yield
    machine["provisioned"] = True
    return {"cloud_init": {"finished": True}, "boot": BOOT}


def seal(machine: Machine, _arguments: Arguments, _now: Conditions) -> Steps:
    assert machine["marker"] is None, "a signed machine is never kept"
    yield
    machine["sealed"] = True
    return {}


def sign(machine: Machine, arguments: Arguments, _now: Conditions) -> Steps:
    assert machine["closed"] or not machine["fingerprint"], "signed before the driver knows that it is somebody's"
    yield
    machine["sealed"] = False
    machine["marker"] = machine["marker"] or arguments["marker"]
    return {}


def place(machine: Machine, arguments: Arguments, _now: Conditions) -> Steps:
    pushed = machine["pushed"][arguments["archive"]]
    assert f"sha256:{pushed}" == arguments["digest"]
    old = machine["bundle"]
    if old is not None and old["intact"] and old["marker"] == arguments["marker"]:
        machine["needless"].append("place")
    secrets = arguments["secrets"]
    assert f"sha256:{machine['pushed'][secrets['archive']]}" == secrets["digest"]
    machine["staged"] = arguments["digest"]
    yield
    release = arguments["release"]
    if machine["previous"] and machine["previous"]["release"] == release:
        machine["previous"] = None
    if _is_placed(old) and old["release"] != release and _serves(machine, old):
        machine["previous"] = old
    yield
    machine["bundle"] = {
        "digest": arguments["digest"],
        "release": release,
        "secrets": secrets["digest"],
        "marker": None,
        "intact": True,
        "restored": False,
        "services": [_service(name, one_shot, arguments) for name, one_shot in SERVICES.items()],
    }
    yield
    machine["staged"] = None
    machine["pushed"].pop(arguments["archive"])
    machine["pushed"].pop(secrets["archive"])
    yield
    machine["bundle"]["marker"] = arguments["marker"]
    return {}


def _serves(machine: Machine, release: dict[str, Any]) -> bool:
    hashes = {service["config_hash"] for service in release["services"]}
    return any(container["config_hash"] in hashes for container in machine["containers"].values())


def keep_vault(machine: Machine, arguments: Arguments, _now: Conditions) -> Steps:
    content = machine["left"].pop(arguments["path"])
    assert hashlib.sha256(content.encode()).hexdigest() == arguments["digest"] == machine["pushed"][arguments["path"]]
    machine["vault"] = json.loads(content)
    yield
    del machine["pushed"][arguments["path"]]
    return {}


def lend_vault(machine: Machine, _arguments: Arguments, _now: Conditions) -> Steps:
    yield
    return {"vault": machine.get("vault")}


def remove_bundle(machine: Machine, _arguments: Arguments, _now: Conditions) -> Steps:
    previous = machine["previous"]
    if previous is not None:
        machine["bundle"] = {**previous, "restored": True}
        yield
        machine["previous"] = None
        machine["staged"] = None
        return {"restored": True}
    machine["bundle"] = None
    yield
    machine["staged"] = None
    return {"restored": False}


def pull(machine: Machine, arguments: Arguments, now: Conditions) -> Steps:
    pulled: list[str] = []
    for wanted in arguments["images"]:
        image = wanted["image"]
        for part, text in now.refuse_pull.items():
            if part in image and image not in machine["images"]:
                return {"pulled": pulled, "failed": {"reference": image, "error": text}}
        pulled.append(image)
        if image not in machine["images"]:
            machine["pulls"].append(image)
            machine["images"][image] = f"sha256:{_digest(image)}"
        yield
    return {"pulled": pulled}


def load_image(machine: Machine, arguments: Arguments, _now: Conditions) -> Steps:
    del machine["pushed"][arguments["path"]]
    for name in arguments["names"]:
        machine["images"][name] = arguments["id"]
        yield
    return {"id": arguments["id"]}


def remove_images(machine: Machine, arguments: Arguments, _now: Conditions) -> Steps:
    for reference in arguments["references"]:
        machine["images"].pop(reference, None)
        yield
    return {"problems": []}


def up(machine: Machine, _arguments: Arguments, _now: Conditions) -> Steps:
    expected = {service["name"]: service for service in machine["bundle"]["services"]}
    for name in set(machine["containers"]) - set(expected):
        del machine["containers"][name]
    machine["volume"] = machine["volume"] or uuid.uuid4().hex
    for name, service in expected.items():
        old = machine["containers"].get(name)
        fits = old is not None and old["config_hash"] == service["config_hash"]
        machine["creations"] += not fits
        identity = old["id"] if old is not None and fits else uuid.uuid4().hex[:12]
        health = "none" if service["one_shot"] else (old["health"] if old is not None and fits else "starting")
        machine["containers"][name] = {
            "id": identity,
            "service": name,
            "config_hash": service["config_hash"],
            "image_id": machine["images"][service["image"]],
            "state": "exited" if service["one_shot"] else "running",
            "exit_code": 0,
            "this_boot": True,
            "health": health,
        }
        yield
    return {"code": 0, "words": ""}


def down(machine: Machine, _arguments: Arguments, _now: Conditions) -> Steps:
    for name in list(machine["containers"]):
        del machine["containers"][name]
        yield
    return {"code": 0}


def stop(machine: Machine, _arguments: Arguments, _now: Conditions) -> Steps:
    for container in machine["containers"].values():
        container["state"] = "exited"
        yield
    return {"code": 0}


def watch(machine: Machine, _arguments: Arguments, now: Conditions) -> Steps:
    for container in machine["containers"].values():
        if container["health"] == "starting" and container["service"] not in now.sick:
            container["health"] = "healthy"
            yield
    waiting = {
        name: container["health"]
        for name, container in machine["containers"].items()
        if container["health"] not in ("healthy", "none")
    }
    return {"waiting": waiting, "logs": {name: f"{name} is sick" for name in waiting}}


def logs(machine: Machine, arguments: Arguments, now: Conditions) -> tuple[list[dict[str, Any]], Answer]:
    """Return what is reported on the way, and the answer."""
    names = arguments["services"]
    known = sorted(machine["containers"]) if names else []
    if set(names) - set(known):
        return [], {"known": known, "code": 0}
    found = [line for name in (names or [arguments["source"]]) for line in now.printed.get(name, [])]
    return [{"line": line} for line in found[-arguments["lines"] :]], {"known": known, "code": 0}


def enter(machine: Machine, arguments: Arguments, now: Conditions) -> int:
    """Return the exit code of a command in a service (7, or the number that it ends with; 0 for a shell)."""
    containers = machine["containers"]
    docker = _docker(now)
    if "error" not in docker and containers.get(arguments["service"], {}).get("state") == "running":
        words = arguments["argv"]
        return int(words[-1]) if words and words[-1].isdecimal() else 7 * bool(words)
    bundle = machine["bundle"] or {"services": []}
    states = [
        {"name": name, "one_shot": SERVICES[name], "state": containers.get(name, {"state": "missing"})["state"]}
        for name in (service["name"] for service in bundle["services"])
    ]
    reason = {"error": docker["error"]} if "error" in docker else {"services": states}
    machine.setdefault("slips", {})[arguments["slip"]] = reason
    return int(arguments["refused"])


def refusal(machine: Machine, arguments: Arguments, _now: Conditions) -> Steps:
    reason = machine.get("slips", {}).pop(arguments["slip"], None)
    yield
    return {"refusal": reason}


SUCCESS: Answer = {"code": 0, "words": "", "pulled": [], "waiting": {}, "cloud_init": {"finished": True}}
"""What a command answers that did nothing and says otherwise."""

COMMANDS = {
    "wait": wait,
    "seal": seal,
    "sign": sign,
    "place": place,
    "remove-bundle": remove_bundle,
    "keep-vault": keep_vault,
    "lend-vault": lend_vault,
    "pull": pull,
    "load-image": load_image,
    "remove-images": remove_images,
    "up": up,
    "down": down,
    "stop": stop,
    "watch": watch,
    "refusal": refusal,
}
"""Each changing command by the name under which it is shipped."""


def _service(name: str, one_shot: bool, arguments: Arguments) -> dict[str, Any]:
    environment = arguments["environment"]
    image = f"{environment['POLIS_REGISTRY']}/polis-{name}:{environment[f'POLIS_{name.upper()}_VERSION']}"
    mounted = {"gate": arguments["digest"], "workspace": arguments["secrets"]["digest"]}.get(name, "")
    return {
        "name": name,
        "image": image,
        "reference": image,
        "one_shot": one_shot,
        "config_hash": _digest(image + mounted),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
