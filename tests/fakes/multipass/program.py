"""The command line: started without site-packages, for a test makes hundreds of calls."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.fakes.multipass import printing, verbs
from tests.fakes.multipass.daemon import Daemon, Refused
from tests.fakes.multipass.world import World


def main(argv: list[str]) -> int:
    world = World(Path(os.environ["POLIS_FAKE_MULTIPASS"]))
    world.note(argv)
    daemon = Daemon(world)
    verb, *words = argv or ["help"]
    try:
        if verb in ("exec", "shell"):
            from tests.fakes.multipass import executing

            return executing.run(daemon, words) if verb == "exec" else executing.shell(daemon, words)
        if verb == "transfer":
            from tests.fakes.multipass import transfers

            return transfers.run(daemon, words)
        if verb not in verbs.VERBS:
            printing.out(f'Error: Unknown command or alias \'{verb}\' (try "multipass help" or "multipass aliases")\n')
            return 1
        action, valued, flags = verbs.VERBS[verb]
        action(daemon, *_parsed(words, valued, flags))
    except Refused as refused:
        printing.err(refused.words)
        return refused.code
    return 0


def _parsed(words: list[str], valued: tuple[str, ...], flags: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    options: dict[str, str] = {}
    names: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in valued:
            options[word] = rest.pop(0)
        elif word in flags:
            options[word] = ""
        elif word.startswith("-") and word != "-":
            raise Refused(f"Unknown option '{word.lstrip('-')}'.\n", 1)
        else:
            names.append(word)
    return options, names


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
