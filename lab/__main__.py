"""`python -m lab`: brings the local world up and down, and makes its registry and its mirror fail on demand."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from lab.errors import LabError
from lab.faults import Mode
from lab.world import ADMIN_PORT, DIRECTORY, MIRROR_PORT, PROXY_PORT, REGISTRY_PORT, World

if TYPE_CHECKING:
    from collections.abc import Sequence


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    top = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("image", help="build the VM image, unless the cache has it")
    commands.add_parser("packages", help="build the package repository, unless the cache has it")
    commands.add_parser("up", help="image, packages, container images, registry, fault proxy; returns when all answer")
    commands.add_parser("down", help="end the servers; images stay")
    commands.add_parser("status", help="what is there and what runs, as JSON")
    fault = commands.add_parser("fault", help="make requests to registry and mirror fail")
    fault.add_argument("mode", choices=[mode.value for mode in Mode])
    fault.add_argument("--match", metavar="RE", help="only requests whose path matches, e.g. polis-gate or ^/docker/")
    fault.add_argument("--count", metavar="N", type=int, help="only N times, then heal")
    commands.add_parser("heal", help="let requests through again")
    commands.add_parser("log", help="the requests so far, one JSON object a line")
    return top


def run(arguments: argparse.Namespace, world: World) -> None:
    """Carry out one command; raises LabError."""
    if arguments.command == "fault":
        world.fault(arguments.mode, match=arguments.match, count=arguments.count)
    elif arguments.command == "log":
        for entry in world.access_log():
            print(json.dumps(asdict(entry)))
    elif arguments.command == "status":
        print(json.dumps(world.status(), indent=2))
    elif arguments.command == "image":
        print(world.build_image())
    elif arguments.command == "packages":
        print(world.build_packages())
    else:
        {"up": world.start, "down": world.stop, "heal": world.heal}[arguments.command]()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = parser().parse_args(argv)
    world = World(
        DIRECTORY,
        proxy_port=PROXY_PORT,
        mirror_port=MIRROR_PORT,
        registry_port=REGISTRY_PORT,
        admin_port=ADMIN_PORT,
        say=lambda line: print(f"lab: {line}", flush=True),
    )
    try:
        run(arguments, world)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
