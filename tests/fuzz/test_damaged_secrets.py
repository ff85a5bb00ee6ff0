"""Whatever is in keys.json or images.lock: words and no traceback, no key lost, none shown."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from polis.bundle import imagelock
from polis.errors import ConfigurationError, PolisError
from polis.vault import FILE, Vault
from tests.fuzz import refusals
from tests.fuzz.damage import spoilt
from tests.fuzz.effort import examples

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LOCK = {
    "schema": 1,
    "images": {"polis-gate:v1": {"digest": "sha256:" + "a" * 64, "id": "sha256:" + "b" * 64}},
}


def made() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        Vault(Path(directory), lambda: NOW).renew("polis")
        content: dict[str, Any] = json.loads((Path(directory) / FILE).read_bytes())
        return content


KEYS = made()


@examples(150)
@given(data=spoilt(KEYS))
def test_a_spoilt_key_file_is_refused_in_words_and_left_alone(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, kept = Path(directory) / FILE, Vault(Path(directory), lambda: NOW)
        path.write_bytes(data)
        problem = refusal(kept)
        assert path.read_bytes() == data
        assert (problem is None) == (parsed(data) == KEYS)
        assert problem is None or "damaged" in problem.message
        assert problem is None or "PRIVATE" not in f"{problem.message} {problem.cause}"


@examples(200)
@given(data=st.one_of(spoilt(LOCK), st.binary(max_size=200)))
def test_a_spoilt_lock_is_read_or_refused_in_words(data: bytes) -> None:
    try:
        lock = imagelock.parse(data, "images.lock")
    except PolisError as error:
        refusals.judge(error)
        return
    assert imagelock.parse(imagelock.render(lock).encode(), "again") == lock


def refusal(kept: Vault) -> ConfigurationError | None:
    try:
        kept.lacking()
        kept.renew("polis")
        kept.read()
    except ConfigurationError as error:
        return error
    return None


def parsed(data: bytes) -> Any:
    """Return what the hash in the file is of, and what says how to read it."""
    try:
        content = json.loads(data)
        return {key: content[key] for key in KEYS}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
