"""Looks at the guest as `polis/guest/checks.toml` asks, from files where there are any: a process costs far more."""

from __future__ import annotations

import fnmatch
import json
import os
import pwd
import re
import subprocess  # noqa: TID251 -- in the guest there is no polis.process
import time
from pathlib import Path
from typing import Any

PACKAGES = Path("/var/lib/dpkg/status")
CGROUPS = (Path("/sys/fs/cgroup/system.slice"), Path("/sys/fs/cgroup/unified/system.slice"))
"""Where the system's units are; the second is what a container finds on a server with the older hierarchy beside it."""
UNITS = Path("/etc/systemd/system")
SOCKETS = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""

LOOPBACK = re.compile(r"[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F")
"""127.0.0.0/8, ::1 and ::ffff:127.0.0.0/104, each group of four bytes in the order of the machine."""

AUDIT_LIMIT = 20.0
"""Seconds for the kernel's list of audit rules."""

Finding = tuple[bool, str, str]
"""Whether it is as it should be, what was expected, what was seen."""


def run(checks: list[dict[str, Any]], info: dict[str, Any], sent: float) -> list[dict[str, Any]]:
    """Return a result for each check: `name`, `ok`, `expected`, `actual`.

    `info` is what the Docker engine says of itself, `sent` is the host's time in seconds since the epoch.
    """
    results = []
    for check in checks:
        look = check["look"]
        kind = next(iter(look))
        try:
            ok, expected, actual = KINDS[kind](look, {"info": info, "sent": sent})
        except Exception as error:  # noqa: BLE001 -- what cannot be looked at is not as it should be; the others count
            ok, expected, actual = False, f"{kind} {look[kind]}", f"{type(error).__name__}: {error}"
        results.append({"name": check["name"], "ok": ok, "expected": expected, "actual": actual[:300]})
    return results


def _package(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    found = _installed(_packages(), look["package"])
    expected = f"{look['package']} {look['version']}"
    if found is None:
        return False, expected, "not installed"
    version, _ = found
    return fnmatch.fnmatchcase(version, look["version"]), expected, version


def _held(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    text = _packages()
    found = {name: _installed(text, name) for name in look["held"]}
    loose = [name for name, package in found.items() if package is None or not package[1]]
    return not loose, f"{', '.join(look['held'])} held", f"not held: {', '.join(loose)}" if loose else "all held"


def _packages() -> str:
    return "\n" + PACKAGES.read_text(encoding="utf-8", errors="replace")


def _installed(text: str, name: str) -> tuple[str, bool] | None:
    """Return the version of an installed package and whether it is held, from dpkg's list."""
    start = text.find(f"\nPackage: {name}\n")
    if start < 0:
        return None
    end = text.find("\n\n", start)
    fields = dict(re.findall(r"^(Status|Version): (.*)$", text[start : end if end > 0 else None], re.MULTILINE))
    wanted, _, state = fields.get("Status", "").partition(" ")
    return (fields["Version"], wanted == "hold") if state == "ok installed" else None


def _unit(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    places = [directory / look["unit"] / "cgroup.events" for directory in CGROUPS]
    runs = any("populated 1" in events.read_text(encoding="ascii") for events in places if events.is_file())
    return runs, f"{look['unit']} running", "running" if runs else "not running"


def _enabled(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    wanted = any((directory / look["enabled"]).is_symlink() for directory in UNITS.glob("*.wants"))
    return wanted, f"{look['enabled']} enabled", "enabled" if wanted else "not enabled"


def _runtime(look: dict[str, Any], facts: dict[str, Any]) -> Finding:
    name = look["runtime"]
    runtime = (facts["info"].get("Runtimes") or {}).get(name)
    expected = f"{name} registered and executable"
    if runtime is None:
        return False, expected, "not registered"
    path = runtime.get("path", "")
    return os.access(path, os.X_OK), expected, path if os.access(path, os.X_OK) else f"{path} cannot be executed"


def _engine(look: dict[str, Any], facts: dict[str, Any]) -> Finding:
    if not facts["info"]:
        return False, f"{look['engine']} of the engine", "the engine does not answer"
    value = facts["info"].get(look["engine"])
    if "contains" in look:
        entries = [str(entry).partition(",")[0] for entry in value or []]
        return look["contains"] in entries, f"{look['engine']} with {look['contains']}", ", ".join(entries) or "none"
    return value == look["equals"], f"{look['engine']} {json.dumps(look['equals'])}", json.dumps(value)


def _json(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    value = json.loads(Path(look["json"]).read_text(encoding="utf-8")).get(look["key"])
    return value == look["equals"], f"{look['key']} {json.dumps(look['equals'])}", json.dumps(value)


def _text(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    actual = Path(look["text"]).read_text(encoding="utf-8", errors="replace").strip()
    return actual == look["equals"], f"{look['equals']} in {look['text']}", actual


def _audit(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    done = subprocess.run(["auditctl", "-l"], capture_output=True, text=True, check=False, timeout=AUDIT_LIMIT)
    watched = set(re.findall(r"^-w (\S+)", done.stdout, re.MULTILINE))
    # From audit 4 on, rules are listed in their long form.
    watched |= set(re.findall(r"-F (?:path|dir)=(\S+)", done.stdout))
    missing = [path for path in look["audit"] if path not in watched]
    expected = f"{len(look['audit'])} paths watched"
    return not missing, expected, f"none for {', '.join(missing)}" if missing else "all"


def _locked(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    open_ = [
        line.partition(":")[0]
        for line in Path(look["locked"]).read_text(encoding="utf-8").splitlines()
        if line.split(":")[1][:1] not in ("!", "*")
    ]
    return not open_, "no usable password", f"usable passwords: {', '.join(open_)}" if open_ else "all locked"


def _file(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    status = Path(look["file"]).stat()
    owner = pwd.getpwuid(status.st_uid).pw_name
    actual = f"{status.st_mode & 0o7777:04o} {owner}"
    expected = f"{look['mode']} {look['owner']}"
    return actual == expected, f"{look['file']} {expected}", actual


def _listening(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    found = {port for table in SOCKETS if table.is_file() for port in _open_ports(table)}
    unexpected = sorted(found - set(look["listening"]))
    expected = f"ports {', '.join(str(port) for port in look['listening'])} only"
    return (
        not unexpected,
        expected,
        f"also {', '.join(str(port) for port in unexpected)}" if unexpected else "as expected",
    )


def _open_ports(table: Path) -> list[int]:
    rows = [line.split() for line in table.read_text(encoding="ascii").splitlines()[1:]]
    places = [row[1].split(":") for row in rows if row[3] == LISTEN]
    return [int(port, 16) for address, port in places if not LOOPBACK.fullmatch(address)]


def _clock(look: dict[str, Any], facts: dict[str, Any]) -> Finding:
    difference = time.time() - facts["sent"]
    tolerance = look["clock"]
    return abs(difference) <= tolerance, f"at most {tolerance} s off the host's clock", f"{difference:+.0f} s"


def _disk(look: dict[str, Any], _facts: dict[str, Any]) -> Finding:
    status = os.statvfs(look["disk"])
    free = status.f_bavail * status.f_frsize
    return free >= look["free"], f"{look['free'] >> 20} MiB free on {look['disk']}", f"{free >> 20} MiB"


KINDS = {
    "package": _package,
    "held": _held,
    "unit": _unit,
    "enabled": _enabled,
    "runtime": _runtime,
    "engine": _engine,
    "json": _json,
    "text": _text,
    "audit": _audit,
    "locked": _locked,
    "file": _file,
    "listening": _listening,
    "clock": _clock,
    "disk": _disk,
}
"""What a check may look at, by the first key of its `look`."""
