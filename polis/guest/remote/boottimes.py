"""Where the time of the guest's last boot went: kernel, systemd, cloud-init's stages, the steps of its script.

All are seconds since the kernel began, or the container was started. The kernel's own figures come from systemd, which
measures them on a clock that nobody sets; where a time of day is all there is, what does not fit between boot and now
is left out by whoever reads.
"""

from __future__ import annotations

import re
import subprocess  # noqa: TID251 -- this runs in the guest, where polis.process is not
import time
from pathlib import Path
from typing import Any

from polis.guest.remote import places, uptime

CLOUD_STAGES = ("init-local", "init", "modules-config", "modules-final")
"""In their order; `v1` of cloud-init's status.json has `start` and `finished` of each, in seconds."""

LONGEST_UPTIME = 1e9
"""Seconds above which a time is the epoch's: cloud-init 25.1 was seen to count from the boot, older ones do not."""

SYSTEMD_TIMES = ("InitRDTimestampMonotonic", "UserspaceTimestampMonotonic")
"""Properties of the service manager, in microseconds since the kernel began; 0 if there was no such thing."""

SYSTEMD_LIMIT = 10.0
"""Seconds for systemd to answer."""

APT_HISTORY = Path("/var/log/apt/history.log")
HISTORY_BYTES = 65536

Stage = dict[str, Any]


def boot() -> dict[str, Any] | None:
    """Return `uptime_s` and the `stages`, each with `name`, `start_s`, `end_s`; None if nothing can be told.

    Nobody's work depends on it, so it never raises.
    """
    try:
        age = uptime.seconds()
        booted = time.time() - age
        cloud = _cloud_stages(booted)
        return {"uptime_s": round(age, 3), "stages": [*_before(cloud), *cloud, *_steps(cloud, booted)]}
    except Exception:  # noqa: BLE001 -- see above; the files are other programs' and may hold anything
        return None


def _cloud_stages(booted: float) -> list[Stage]:
    status = places.read_json(places.CLOUD_STATUS)["v1"]
    known = [(name, status.get(name) or {}) for name in CLOUD_STAGES]
    return [
        _stage(name, _since_boot(each["start"], booted), _since_boot(each["finished"], booted))
        for name, each in known
        if each.get("start") and each.get("finished")
    ]


def _since_boot(moment: float, booted: float) -> float:
    return moment - booted if moment > LONGEST_UPTIME else moment


def _before(cloud: list[Stage]) -> list[Stage]:
    """Return kernel and systemd, up to cloud-init's first stage; a container has no kernel that begins with it."""
    times = _systemd_times()
    userspace = times.get("UserspaceTimestampMonotonic", 0.0)
    if not userspace:
        return []
    if begun := uptime.begun():
        return [_stage("systemd", max(0.0, userspace - begun), cloud[0]["start_s"])] if cloud else []
    initrd = times.get("InitRDTimestampMonotonic", 0.0)
    stages = [_stage("kernel", 0.0, initrd or userspace)]
    stages += [_stage("initrd", initrd, userspace)] if initrd else []
    return stages + ([_stage("systemd", userspace, cloud[0]["start_s"])] if cloud else [])


def _systemd_times() -> dict[str, float]:
    argv = ["systemctl", "show", f"--property={','.join(SYSTEMD_TIMES)}"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SYSTEMD_LIMIT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    pairs = (line.partition("=") for line in done.stdout.splitlines())
    return {name: int(value) / 1e6 for name, _, value in pairs if value.isdecimal()}


def _steps(cloud: list[Stage], booted: float) -> list[Stage]:
    """Return the steps of the document's script, as far as the files that each of them leaves tell when it ended."""
    final = next((stage for stage in cloud if stage["name"] == "modules-final"), None)
    if final is None:
        return []
    runs = [(begun, ended) for begun, ended in _apt_runs(booted) if final["start_s"] - 1 <= begun <= final["end_s"]]
    ends = [("fetch-sysbox", _written(places.STATE / "packages" / "sysbox-ce.deb", booted))]
    if runs:
        ends += [("fetch-packages", runs[0][0]), ("install-packages", runs[0][1]), ("install-sysbox", runs[-1][1])]
    ends.append(("start-and-harden", _written(places.SENTINEL, booted)))
    return _between(final, ends)


def _between(final: Stage, ends: list[tuple[str, float | None]]) -> list[Stage]:
    """Return steps that follow each other from the stage's beginning; one that goes back in time is none."""
    steps: list[Stage] = []
    begun = final["start_s"]
    for name, ended in ends:
        if ended is None or not begun <= ended <= final["end_s"] + 1:
            continue
        steps.append(_stage(name, begun, min(ended, final["end_s"])))
        begun = ended
    return steps


def _apt_runs(booted: float) -> list[tuple[float, float]]:
    """Return when apt began and ended to install, to the second: its log holds local times."""
    try:
        with APT_HISTORY.open("rb") as file:
            text = file.read(HISTORY_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    found = re.findall(r"^Start-Date: (.+)$[\s\S]*?^End-Date: (.+)$", text, re.MULTILINE)
    try:
        return sorted((_local(begun) - booted, _local(ended) - booted) for begun, ended in found)
    except (ValueError, OverflowError):
        return []


def _local(text: str) -> float:
    return time.mktime(time.strptime(" ".join(text.split()), "%Y-%m-%d %H:%M:%S"))


def _written(path: Path, booted: float) -> float | None:
    try:
        return path.stat().st_mtime - booted
    except OSError:
        return None


def _stage(name: str, start: float, end: float) -> Stage:
    return {"name": name, "start_s": round(start, 3), "end_s": round(end, 3)}
