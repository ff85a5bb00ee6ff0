"""What a container of the workspace says of itself."""

from __future__ import annotations

import calendar
import time
from typing import Any

from polis.guest.remote import uptime

DETAIL_LIMIT = 300
LINE_LIMIT = 4096

CLOCK_SLACK = 2.0
"""Seconds by which the engine's time and the kernel's may differ."""


def booted_at() -> float:
    """Return when the guest was switched on, in seconds since the epoch."""
    return time.time() - uptime.seconds()


def summary(inspected: dict[str, Any], booted: float) -> dict[str, Any]:
    """Return the part of the engine's description that is evidence.

    `this_boot` tells whether it was started since then: what a one-shot service set up in the kernel is gone with it.
    """
    state = inspected["State"]
    labels = inspected["Config"]["Labels"]
    health = state.get("Health") or {}
    log = health.get("Log") or []
    detail = str(log[-1].get("Output", "")) if log else str(state.get("Error", ""))
    return {
        "id": line(inspected["Id"])[:12],
        "service": line(labels.get("com.docker.compose.service", "")),
        "config_hash": line(labels.get("com.docker.compose.config-hash", "")),
        "image_id": line(inspected["Image"]),
        "state": line(state["Status"]),
        "exit_code": int(state["ExitCode"]),
        "this_boot": _epoch(str(state.get("StartedAt", ""))) >= booted - CLOCK_SLACK,
        "health": line(health.get("Status", "none")),
        "detail": detail.strip()[-DETAIL_LIMIT:],
    }


def line(value: object) -> str:
    """Return a text of the engine's; the host refuses a report with a longer one."""
    return str(value)[:LINE_LIMIT]


def condition(entry: dict[str, Any], *, one_shot: bool) -> str:
    """Return `ok`, or in a word why the service is not."""
    if one_shot and entry["state"] == "exited":
        return "ok" if entry["exit_code"] == 0 else f"exited ({entry['exit_code']})"
    if one_shot or entry["state"] != "running":
        return str(entry["state"])
    return "ok" if entry["health"] in ("healthy", "none") else str(entry["health"])


def has_failed(entry: dict[str, Any]) -> bool:
    """Return whether the container's log may tell what is wrong."""
    died: bool = entry["state"] in ("exited", "dead") and entry["exit_code"] != 0
    return died or entry["state"] == "restarting" or bool(entry["health"] == "unhealthy")


def _epoch(moment: str) -> float:
    """Return the seconds since the epoch of the engine's time (UTC, with a varying number of decimals)."""
    try:
        return float(calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0.0
