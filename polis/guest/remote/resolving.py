"""Letting Compose read the current bundle, and keeping what it makes of it."""

from __future__ import annotations

import hashlib
import json
import subprocess  # noqa: TID251 -- this runs in the guest, where polis.process is not
from pathlib import Path
from typing import Any

from polis.guest.remote import places

COMPOSE_LIMIT = 120
"""Seconds for Compose to read its files."""

LOCKED = "polis.locked"
"""Where the images lie whose digest is known: a name that no registry has, given only to what was verified."""


class Refused(Exception):
    """What was pushed is not what it should be."""


def compose_words(*arguments: str, content: bool = True) -> list[str]:
    """Return the command line of `docker compose` on the current bundle."""
    agent = places.CURRENT / places.AGENT
    files = [
        places.CURRENT / "docker-compose.yml",
        *([agent] if agent.is_file() else []),
        *([places.CURRENT / places.CONTENT] if content else []),
    ]
    named = [word for file in files for word in ("--file", str(file))]
    return ["docker", "compose", "--project-directory", str(places.CURRENT), *named, *arguments]


def resolve(pins: dict[str, dict[str, str]]) -> None:
    """Keep the services, their images and configuration hashes. `pins` has digest and id of image references.

    Compose's own hash covers the path of a mounted file, not what is in it: a label with the content's digest makes it
    replace exactly the containers whose files changed. It covers the name of an image, not what it is: a pinned one is
    named after its digest, so that a new release replaces exactly the containers whose image is another.
    """
    (places.CURRENT / places.RESOLVED).parent.mkdir(mode=0o700, exist_ok=True)
    project = json.loads(_checked("config", "--format", "json", content=False))
    services, secrets = project["services"], project.get("secrets") or {}
    images = {name: _image(service["image"], pins) for name, service in services.items()}
    changes = {
        name: {"image": images[name]["image"], "labels": {"polis.content": _content(service, secrets)}}
        for name, service in services.items()
    }
    places.write_json(places.CURRENT / places.CONTENT, {"services": changes})
    hashes = dict(line.split() for line in _checked("config", "--hash", "*").splitlines() if line.strip())
    resolved = [
        {
            "name": name,
            **images[name],
            "one_shot": service.get("labels", {}).get("polis.one-shot") == "true",
            "config_hash": hashes[name],
        }
        for name, service in sorted(services.items())
    ]
    places.write_json(places.CURRENT / places.RESOLVED, {"services": resolved})


def _image(reference: str, pins: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return what is pulled, under which name it runs, and what it has to be."""
    pin = pins.get(reference, {})
    digest = pin.get("digest", "")
    name = reference.partition("@")[0].rpartition("/")[2].partition(":")[0]
    image = f"{LOCKED}/{name}:{digest.partition(':')[2]}" if digest else reference
    return {"image": image, "reference": reference, "digest": digest, "id": pin.get("id", "")}


def _checked(*arguments: str, content: bool = True) -> str:
    done = subprocess.run(
        compose_words(*arguments, content=content),
        capture_output=True,
        text=True,
        check=False,
        timeout=COMPOSE_LIMIT,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise Refused(f"docker compose {arguments[0]}: {done.stderr.strip()[-800:]}")
    return done.stdout


def _content(service: dict[str, Any], secrets: dict[str, Any]) -> str:
    """Return a digest of the placed files that are mounted into the service, as volumes or as secrets."""
    binds = [volume for volume in service.get("volumes") or [] if volume.get("type") == "bind"]
    mounted = [(Path(bind.get("source", "")), str(bind["target"])) for bind in binds]
    for secret in service.get("secrets") or []:
        source = str(secret["source"])
        mounted.append((Path(secrets.get(source, {}).get("file", "")), f"secret {secret.get('target') or source}"))
    digest = hashlib.sha256()
    for path, target in mounted:
        if places.CURRENT not in path.parents:
            continue
        content = places.tree_digest(path) if path.is_dir() else _file_digest(path)
        digest.update(f"{target} {content}\0".encode())
    return digest.hexdigest()[:16]


def _file_digest(path: Path) -> str:
    return places.sha256(path) if path.is_file() else "missing"
