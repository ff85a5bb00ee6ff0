"""What one operator leaves in the VM, and another takes from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polis import vault
from polis.agents import choice
from polis.agents.choice import Kept
from polis.errors import ConfigurationError
from polis.handover import Handover
from polis.paths import Paths


def of(directory: Path) -> Handover:
    paths = Paths(*(directory / part for part in ("config", "data", "cache", "logs", "runtime")))
    return Handover("polis", paths)


def left(tmp_path: Path) -> dict[str, Any]:
    """Return what an operator leaves who has keys, and an agent that was given one."""
    ann = of(tmp_path / "ann")
    directory = ann.paths.secrets("polis")
    vault.Vault(directory).renew("polis")
    choice.save(directory, Kept("beacon", {"beacon": {"API_KEY": "sk-given"}}))
    content: dict[str, Any] = json.loads(ann.pack())
    return content


def test_another_operator_has_the_same_keys_and_the_same_agent_s_keys(tmp_path: Path) -> None:
    ann, bob = of(tmp_path / "ann"), of(tmp_path / "bob")
    taken = bob.take(left(tmp_path))
    assert taken == ("the choice of its agent", "keys and passwords")
    theirs, ours = (vault.Vault(each.paths.secrets("polis")).read() for each in (ann, bob))
    assert theirs == ours is not None
    kept = choice.load(bob.paths.secrets("polis"))
    assert (kept.agent, kept.values) == ("beacon", {"beacon": {"API_KEY": "sk-given"}})
    path = bob.paths.secrets("polis") / vault.FILE
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert bob.take(left(tmp_path)) == ()


def test_keys_that_others_take_the_place_of_are_kept(tmp_path: Path) -> None:
    bob = of(tmp_path / "bob")
    directory = bob.paths.secrets("polis")
    vault.Vault(directory).renew("polis")
    own = (directory / vault.FILE).read_bytes()
    assert "keys and passwords" in bob.take(left(tmp_path))
    assert (directory / f"{vault.FILE}.before").read_bytes() == own


@pytest.mark.parametrize(
    "damage",
    [
        [],
        {"schema": 2},
        {vault.FILE: "{}"},
        {vault.FILE: "no json"},
        {choice.FILE: '{"schema": 1, "agent": 5, "values": {}}'},
        {"agent.tar": "no base64!"},
        {"agent.tar": "AAAA"},
    ],
)
def test_what_a_hostile_guest_hands_over_is_refused_and_replaces_nothing(tmp_path: Path, damage: Any) -> None:
    bob = of(tmp_path / "bob")
    directory = bob.paths.secrets("polis")
    vault.Vault(directory).renew("polis")
    own = (directory / vault.FILE).read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        bob.take({**left(tmp_path), **damage} if isinstance(damage, dict) else damage)
    assert (directory / vault.FILE).read_bytes() == own
    assert "sk-given" not in str(caught.value) + caught.value.cause
