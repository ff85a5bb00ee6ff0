"""`make bench-containers`: `polis fleet up` on a real LXD, beside a loop of the engine's own client. Prints a table.

    python -m tests.bench.containers [N…]

Both do the same work, eight at a time: an instance with the same cloud-init document and sizes, its first boot waited
for, the same stack sent, its images pulled, its services started and waited for. The loop keeps no record, checks
nothing, makes no keys, and does not know where it was if it is interrupted. docs/performance.md has the figures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from lab.lxd import ALIAS, Lxd
from lab.world import World
from tests.bench.measuring import POLIS, ROOT

SIZES = (1, 4, 12)
AT_ONCE = 8
STACK = ROOT / "lab" / "fleet" / "bundle" / "docker-compose.yml"
VERSION = "v0.5.0"
PLACE = "/opt/stack/docker-compose.yml"


def call(argv: list[str], environ: Mapping[str, str]) -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(argv)[:300]} ended with {done.returncode}:\n{(done.stderr + done.stdout)[-3000:]}")
    return done.stdout


def by_loop(members: int, document: str, environ: Mapping[str, str]) -> float:
    """Do it with the engine's client alone; return the wall seconds."""
    registry = f"POLIS_REGISTRY={environ['POLIS_REGISTRY']}"
    versions = [f"POLIS_TOOLBOX_VERSION={VERSION}", f"POLIS_INIT_VERSION={VERSION}"]
    compose = ["env", registry, *versions, "docker", "compose", "--file", PLACE, "--progress", "quiet"]
    sizes = ["-c", "limits.cpu=1", "-c", "limits.memory=1GiB", "-c", "security.nesting=true", "-d", "root,size=6GiB"]

    def one(name: str) -> None:
        call(["lxc", "init", ALIAS, name, *sizes, "-c", f"user.user-data={document}"], environ)
        call(["lxc", "start", name], environ)
        call(["lxc", "exec", name, "--", "cloud-init", "status", "--wait"], environ)
        call(["lxc", "file", "push", "--create-dirs", str(STACK), f"{name}{PLACE}"], environ)
        call(["lxc", "exec", name, "--", *compose, "pull"], environ)
        call(["lxc", "exec", name, "--", *compose, "up", "--detach", "--wait"], environ)

    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, [f"loop-{number}" for number in range(1, members + 1)]))
    taken = time.perf_counter() - begun
    names = [f"loop-{number}" for number in range(1, members + 1)]
    call(["lxc", "delete", "--force", *names], environ)
    return taken


def by_fleet(members: int, directory: Path, environ: Mapping[str, str]) -> float:
    """Do it with a fleet; return the wall seconds."""
    file = directory / f"fleet-{members}.yaml"
    defaults = {"driver": "incus", "cpus": 1, "memory": "1G", "disk": "6G", "bundle": str(STACK.parent)}
    file.write_text(json.dumps({"defaults": defaults, "members": {"m": {"count": members}}}))
    begun = time.perf_counter()
    call([POLIS, "fleet", "up", "-f", str(file), "--parallel", str(AT_ONCE), "-q"], environ)
    taken = time.perf_counter() - begun
    call([POLIS, "--yes", "fleet", "delete", "-f", str(file), "-q"], environ)
    return taken


def main() -> None:
    """Measure the sizes of the command line, or all."""
    sizes = [int(word) for word in sys.argv[1:]] or list(SIZES)
    shared = ROOT / ".lab"
    with TemporaryDirectory(prefix="polis-bench-") as work, Lxd(shared / "lxd-bench", shared=shared) as lxd:
        # The kernel counts inotify instances by user, and has too few for a dozen containers of one.
        lxd.lxc("profile", "set", "default", "security.idmap.isolated=true")
        world = World(lxd.directory / "world", shared=shared, bridge=lxd.gateway)
        world.start(image=False)
        try:
            environ = {
                **{key: value for key, value in os.environ.items() if not key.startswith("POLIS_")},
                **lxd.environment,
                "POLIS_HOME": f"{work}/home",
                "POLIS_INCUS": json.dumps({"image": ALIAS, "kind": "container"}),
                "POLIS_REGISTRY": f"{world.gateway}:{world.proxy_port}/odralabshq",
                "POLIS_IMAGES_LOCK": str(world.images_lock),
                "POLIS_MIRRORS": json.dumps(world.mirrors()),
            }
            document = call([POLIS, "cloud-init", "show"], environ)
            by_fleet(1, Path(work), environ)  # fills the mirrors' caches
            print(f"{os.cpu_count()} processors, LXD, {AT_ONCE} at a time\n")
            print(f"{'members':<10}{'loop s':>9}{'fleet up s':>12}{'throughput':>12}")
            for members in sizes:
                loop = by_loop(members, document, environ)
                fleet = by_fleet(members, Path(work), environ)
                print(f"{members:<10}{loop:>9.1f}{fleet:>12.1f}{loop / fleet:>12.2f}", flush=True)
        finally:
            world.stop()


if __name__ == "__main__":
    main()
