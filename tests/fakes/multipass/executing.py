"""`exec` and `shell`: straight to the guest, once the daemon has told where it is."""

from __future__ import annotations

from tests.fakes.multipass import printing, verbs
from tests.fakes.multipass.daemon import Daemon, Refused
from tests.fakes.multipass.guest import Guest

STDIN_LIMIT = 2 * 1024 * 1024
"""What comes after it is dropped, and nobody is told."""

RETRY = 4
"""The guest's exit code that the client takes for its own: run it again."""


def run(daemon: Daemon, words: list[str]) -> int:
    mapped = "-n" not in words[: words.index("--")] if "--" in words else "-n" not in words
    name, argv = _arguments(words)
    try:
        guest = _reach(daemon, name)
    except Refused as refused:
        # The search for the host's directory among the mounts fails first, with the same words.
        refused.words *= 2 if mapped else 1
        raise
    interactive = printing.stdin().isatty() and printing.stdout().isatty()
    while True:
        if interactive:
            code = guest.interact(argv)
        else:
            code = guest.run(
                argv,
                stdin=printing.stdin(),
                stdout=printing.stdout(),
                stderr=printing.stderr(),
                limit=STDIN_LIMIT,
            )
        if code != RETRY:
            return code


def shell(daemon: Daemon, words: list[str]) -> int:
    return _reach(daemon, words[0]).interact([])


def _arguments(words: list[str]) -> tuple[str, list[str]]:
    if "--" in words:
        place = words.index("--")
        own, argv = words[:place], words[place + 1 :]
    else:
        own, argv = words[:1], words[1:]
        if wrong := next((word for word in argv if word.startswith("-")), None):
            inner = 'Options to the inner command should come after "--", like this:\n'
            usage = "multipass exec <instance> -- <command> <arguments>\n"
            raise Refused(f"Unknown option '{wrong.lstrip('-')}'.\n\n{inner}{usage}", 1)
    names = [word for word in own if word not in ("-n", "--no-map-working-directory")]
    if len(names) != 1 or not argv:
        raise Refused("Wrong number of arguments\n", 1)
    return names[0], argv


def _reach(daemon: Daemon, name: str) -> Guest:
    daemon.admit("exec")
    with daemon.world.machines() as machines:
        daemon.settle(machines)
        machine = daemon.known(machines, "exec", name)
        state = daemon.state(machine)
        guest = daemon.guest(machine)
        if state == "Unknown":
            raise Refused("exec failed: Cannot retrieve credentials in unknown state\n")
        if state == "Delayed Shutdown":
            cancel = f"use 'multipass stop --cancel {name}' to cancel the shutdown."
            raise Refused(f'exec failed: "{name}" is scheduled to shut down in less than a minute, {cancel}\n')
    if state != "Running":
        printing.spinner(f"Starting {name}")
        verbs.switch_on(daemon, "start", name, 300.0)
        printing.out(printing.CLEAR * 2)
    return guest
