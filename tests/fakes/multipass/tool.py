"""The simulated guest's own programs that a line of shell cannot be. Runs in the guest."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.fakes.multipass import simulated
from tests.fakes.multipass.guest import Makeup


def guest() -> simulated.SimulatedGuest:
    directory = Path(os.environ[simulated.MARK])
    entry = json.loads((directory / "makeup.json").read_text())
    return simulated.SimulatedGuest(Makeup(**{**entry, "directory": directory}))


def matching(pattern: str) -> list[int]:
    found = []
    for number in simulated.processes(Path(os.environ[simulated.MARK])):
        try:
            line = Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if number != os.getpid() and re.search(pattern, line):
            found.append(number)
    return found


def main(name: str, *words: str) -> int:
    if name in ("pgrep", "pkill"):
        found = matching(words[-1])
        for number in found:
            if name == "pkill":
                os.kill(number, signal.SIGTERM)
            else:
                sys.stdout.write(f"{number}\n")
        return 0 if found else 1
    if name == "cloud-init":
        path = guest().directory / "cloud-init.json"
        state = json.loads(path.read_text())
        sys.stdout.write((json.dumps(state) if "json" in words else f"status: {state['status']}") + "\n")
        return 1 if state["status"] == "error" else 0
    deed = words[0] if name == "systemctl" else name
    if deed == "reboot":
        guest().reboot()
    elif deed == "poweroff":
        guest().kill()
    return 0


sys.exit(main(*sys.argv[1:]))
