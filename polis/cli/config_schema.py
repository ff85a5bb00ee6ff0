"""The JSON Schema of polis.yaml, for editors: what the models say, and what they take besides.

The models turn `8G` into bytes and `8080:80` into a port before they look at it, and their own schema is that of the
result. What a file may hold instead is added here; a test compares both with what the loader does.
"""

from __future__ import annotations

from typing import Any, Final

NAME: Final = "polis.schema.json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

DESCRIPTIONS: Final = {
    "name": "The workspace and its instance: letters, digits and hyphens.",
    "driver": "Where the VM comes from. Without it: what the workspace has, else multipass if installed, else qemu.",
    "image": "The base image: a known name, a mapping, or a JSON file with that mapping.",
    "cpus": "Processors of the VM. A change takes effect when it is next switched on.",
    "memory": "Memory of the VM. A change takes effect when it is next switched on.",
    "disk": "Disk of the VM. It only grows.",
    "timeout": "How long each phase may take.",
    "version": "Version (tag) of the images.",
    "registry": "Where the images are: <registry>/polis-<image><suffix>:<version>.",
    "image_suffix": "What stands behind the names of the images.",
    "bundle": "A directory or tar that replaces the shipped bundle. It is checked before anything is sent.",
    "offline": "A file of `polis bundle export` that everything is taken from, with its sha256 if you like.",
    "images_lock": "Which image each tag has to be; without it, images.lock in the bundle.",
    "cloud_init": "A document that replaces the shipped one.",
    "accel": "Acceleration of QEMU: the best that works, or this one.",
    "snapshots": "Keep the VM as provisioned: to return to it, and for new workspaces to begin with. Driver incus.",
    "incus": "The server of the driver incus (Incus or LXD), and what it makes instances from.",
    "retry": "How often and how long transient failures are tried again.",
    "ports": "Ports of 127.0.0.1 of the host that lead into the VM: host:guest.",
    "mirrors": "Places to use instead of the public ones.",
    "proxy": "HTTP proxies for what the VM fetches: an address, or a mapping.",
    "ca_certs": "Certificates (PEM files) that the VM is to trust.",
    "agent": "The agent that the workspace gets; empty for none.",
    "env": "Variables for the agent. A file that is shared is no place for keys: see env_file.",
    "env_file": "A file with the agent's keys: NAME=value lines.",
}

_SIZE: Final = {
    "type": ["integer", "string"],
    "pattern": r"^\s*[0-9]{1,18}(\.[0-9]{1,18})?\s*[KkMmGgTt]?([Ii]?[Bb])?\s*$",
    "examples": ["8G", "512MiB"],
}
_TIME: Final = {
    "type": ["number", "string"],
    "pattern": r"^\s*[0-9]{1,18}(\.[0-9]{1,18})?\s*(s|m|min|h)?\s*$",
    "examples": ["15m", 90],
}
_PORT: Final = {
    "type": ["integer", "string"],
    "pattern": r"^[0-9]{1,5}(:[0-9]{1,5})?$",
    "minimum": 1,
    "maximum": 65535,
    "examples": ["8080:8080"],
}
_PORT_NUMBER: Final = {"type": ["integer", "string"], "pattern": "^[0-9]{1,5}$", "minimum": 1, "maximum": 65535}
_COUNT: Final = {"type": ["integer", "string"], "pattern": "^[0-9]+$"}


def schema() -> dict[str, Any]:
    """Return the schema of a configuration file."""
    from polis.config import CATALOG, Spec

    document = Spec.model_json_schema()
    keys, parts = document["properties"], document["$defs"]
    for key in ("memory", "disk"):
        _replace(keys, key, _SIZE)
    _replace(keys, "timeout", _TIME)
    _replace(keys, "cpus", {**_COUNT, "minimum": 1, "maximum": 512})
    for key in ("base", "cap", "deadline", "silence"):
        _replace(parts["RetrySpec"]["properties"], key, _TIME)
    _replace(parts["RetrySpec"]["properties"], "attempts", {**_COUNT, "minimum": 1, "maximum": 100})
    for key in ("host", "guest"):
        _replace(parts["PortSpec"]["properties"], key, _PORT_NUMBER)
    keys["ports"]["items"] = {"anyOf": [_PORT, {"$ref": "#/$defs/PortSpec"}]}
    image = {"type": "string", "anyOf": [{"enum": sorted(CATALOG)}, {"pattern": r"\.json$"}]}
    keys["image"] = {"anyOf": [image, {"$ref": "#/$defs/ImageSpec"}]}
    for key in ("proxy", "offline"):
        keys[key]["anyOf"].insert(0, {"type": "string"})
    keys["env"]["additionalProperties"] = {"type": ["string", "number", "boolean"]}
    for key, entry in keys.items():
        entry["description"] = DESCRIPTIONS.get(key, "")
    for part in (document, *parts.values()):
        _without_titles(part)
    head = {"$schema": DIALECT, "title": "polis.yaml", "description": "The configuration of a Polis workspace."}
    return {**head, **{key: value for key, value in document.items() if key not in head}}


def fleet() -> dict[str, Any]:
    """Return the schema of fleet.yaml: keys of polis.yaml for all members, and for each."""
    from polis.config_fleet import LIMIT, GroupSpec

    workspace = schema()
    keys = {key: entry for key, entry in workspace["properties"].items() if key != "name"}
    plain = {key: {name: said for name, said in entry.items() if name != "default"} for key, entry in keys.items()}
    group = GroupSpec.model_json_schema()["properties"]
    own = {
        "name": {
            "type": "string",
            "pattern": group["name"]["pattern"],
            "description": "The member; with a count, members name-1 to name-N.",
        },
        "count": {**_COUNT, "minimum": 1, "maximum": LIMIT, "description": "How many such members there are."},
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "What --selector chooses by.",
        },
    }
    member = {"type": "object", "additionalProperties": False, "properties": {**own, **plain}}
    named = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/FleetMember", "required": ["name"]}]}
    by_name = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/FleetMember"}]}
    return {
        "$schema": DIALECT,
        "title": "fleet.yaml",
        "description": "A fleet of Polis workspaces.",
        "type": "object",
        "required": ["members"],
        "additionalProperties": False,
        "properties": {
            "defaults": {
                "type": ["object", "null"],
                "additionalProperties": False,
                "properties": plain,
                "description": "Keys of polis.yaml for all members.",
            },
            "members": {
                "anyOf": [{"type": "array", "items": named}, {"type": "object", "additionalProperties": by_name}],
                "description": "The workspaces: a list, or a mapping by name.",
            },
        },
        "$defs": {**workspace["$defs"], "FleetMember": member},
    }


def _replace(properties: dict[str, Any], key: str, accepted: dict[str, Any]) -> None:
    """Put what a file may hold in place of what the model makes of it; a default stays."""
    kept = {name: value for name, value in properties[key].items() if name == "default"}
    properties[key] = {**accepted, **kept}


def _without_titles(part: dict[str, Any]) -> None:
    """Take the titles away that repeat each key in capitals."""
    part.pop("title", None)
    for entry in part.get("properties", {}).values():
        entry.pop("title", None)
