"""The environment variable of each option: one rule, and the few options that no variable may set."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typer._click.core import Context

PREFIX = "POLIS_"

KEYS = frozenset(
    {
        *("--name", "--driver", "--config", "--image", "--cloud-init", "--bundle", "--version", "--offline", "--agent"),
        "--env-file",
    }
)
"""Options for what is configured. The configuration itself reads `POLIS_<KEY>`, so the parser must not: a variable may
hold a mapping, and a problem in it is told by its own name."""

SHARED = frozenset({"--wait"})
"""Options that mean the same in every command, and so have one variable."""

NOT_INHERITED = {
    "--help": "asks a question instead of running",
    "polis --version": "asks a question instead of running; POLIS_VERSION is the version of the images",
    "polis up --recreate": "deletes the VM: to be typed each time",
    "polis plan --recreate": "goes with that of `up`",
    "polis up --adopt": "takes over what belonged to another: to be typed each time",
    "polis plan --adopt": "goes with that of `up`",
    "polis up --no-agent": "takes the agent away: to be typed each time; POLIS_AGENT names another",
    "polis plan --no-agent": "goes with that of `up`",
    "polis delete --all": "destroys keys and passwords: to be typed each time",
    "polis reset --to": "undoes work, with `absent` all of it: to be typed each time",
    "polis agent add --replace": "overwrites: to be typed each time",
    "polis doctor --fix": "changes the machine: to be typed each time",
    "polis status --watch": "never ends: a script with `polis status` in it would hang",
    "polis status --format": "changes what a script that calls `polis status` reads",
    "polis logs --follow": "never ends: the same",
    "polis history --plot": "writes a file: to be typed each time",
    "polis history --force": "overwrites: to be typed each time",
    "polis graph --output": "writes a file: to be typed each time",
    "polis graph --force": "overwrites: to be typed each time",
    **{
        f"polis fleet {name} --selector": "chooses what is changed: to be typed each time"
        for name in ("plan", "up", "status", "stop", "reset", "delete")
    },
    "polis fleet up --recreate": "deletes VMs: to be typed each time",
    "polis fleet reset --to": "undoes work, with `absent` all of it: to be typed each time",
    "polis fleet delete --all": "destroys keys and passwords: to be typed each time",
    "polis config schema --write": "names a file that is overwritten: to be typed each time",
}
"""Options without a variable, and why: by name, or by command and name."""

OF_ALL_FLEETS = frozenset({"--file", "--parallel"})
"""Options that mean the same in every command of `fleet`: `POLIS_FLEET_FILE`."""

ALIASES = {"start": "up"}


def command_path(context: Context) -> tuple[str, ...]:
    """Return the words of the command, without `polis`: `("agent", "add")`."""
    words: list[str] = []
    current: Context = context
    while current.parent is not None:
        words.insert(0, ALIASES.get(current.info_name or "", current.info_name or ""))
        current = current.parent
    return tuple(words)


def variable(path: Sequence[str], option: str) -> str | None:
    """Return the variable that stands for a command's option (its long name), None if none may."""
    if option in NOT_INHERITED or " ".join(("polis", *path, option)) in NOT_INHERITED:
        return None
    words = () if option in KEYS | SHARED else path
    if path[:1] == ("fleet",) and option in OF_ALL_FLEETS:
        words = path[:1]
    return PREFIX + "_".join([*words, option.lstrip("-")]).replace("-", "_").upper()


def is_read_by_parser(option: str) -> bool:
    """Return whether the parser reads the option's variable; else the configuration does."""
    return option not in KEYS


def long_name(names: Sequence[str]) -> str:
    """Return the name of an option by which it is known: the longest."""
    return max(names, key=len)
