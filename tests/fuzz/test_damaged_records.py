"""Whatever is in state.json and its backup: no traceback, a valid record afterwards, the evidence kept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polis.cli import output
from polis.cli.status import render
from polis.errors import ChangesPending, ConfigurationError, ForeignInstance, PolisError
from polis.phase import Phase
from polis.store import BACKUP, FILE, SCHEMA_VERSION
from polis.workspace import UpOptions
from tests.fuzz.damage import misspelt, spoilt
from tests.fuzz.effort import examples
from tests.fuzz.worlds import Place, copy_of

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[2] / "state-schema.json").read_text()), format_checker=jsonschema.FormatChecker()
)
KINDS = ("absent", "healthy", "failed", "in_flight")
SEED: dict[str, Any] = {
    "schema_version": SCHEMA_VERSION,
    "workspace": "polis",
    "id": "2b9dd2f6-5d0f-4a25-9d5c-0d6d1a1e0a55",
    "driver": "simulated",
    "instance": "polis",
    "phase": "absent",
}


def places(request: pytest.FixtureRequest, kind: str) -> Place:
    place: Place = request.getfixturevalue(kind)
    return place


def document(place: Place) -> Any:
    return json.loads(place.record.read_bytes()) if place.record.exists() else SEED


def up(place: Place) -> Phase | PolisError:
    try:
        return place.open().up(UpOptions())
    except PolisError as error:
        return error


@pytest.mark.parametrize("kind", KINDS)
@examples(40)
@given(data=st.data())
def test_up_ends_healthy_or_says_which_file_is_in_its_way(
    request: pytest.FixtureRequest, kind: str, data: st.DataObject
) -> None:
    template = places(request, kind)
    good = document(template)
    content = data.draw(spoilt(good))
    backup = data.draw(st.none() | st.just(json.dumps(good).encode()) | spoilt(good))
    with copy_of(template) as place:
        place.record.write_bytes(content)
        if backup is not None:
            (place.directory / BACKUP).write_bytes(backup)
        result = up(place)
        if isinstance(result, ConfigurationError):
            assert str(place.record) in result.message
            assert place.record.read_bytes() == content
        elif isinstance(result, PolisError):
            # A record that is one, but of another VM.
            assert isinstance(result, ForeignInstance | ChangesPending), result
        else:
            assert result is Phase.HEALTHY
            judge_record(place, left=content)


@pytest.mark.parametrize("kind", KINDS)
@examples(40)
@given(data=st.data())
def test_status_shows_what_it_can_and_changes_nothing(
    request: pytest.FixtureRequest,
    kind: str,
    data: st.DataObject,
) -> None:
    template = places(request, kind)
    good = document(template)
    content, backup = data.draw(spoilt(good)), data.draw(st.none() | spoilt(good))
    with copy_of(template) as place:
        place.record.write_bytes(content)
        if backup is not None:
            (place.directory / BACKUP).write_bytes(backup)
        before = snapshot(place.root)
        try:
            found = place.open().status()
        except PolisError:
            return
        finally:
            assert snapshot(place.root) == before
        output.result(render(found))
        output.document(found.document)


@examples(120)
@given(data=st.data())
def test_what_recover_returns_can_be_saved_and_is_the_same_afterwards(healthy: Place, data: st.DataObject) -> None:
    with copy_of(healthy) as place:
        place.record.write_bytes(data.draw(misspelt(document(healthy))))
        try:
            record = place.store.recover().record
        except ConfigurationError:
            return
        if record is not None:
            place.store.save(record)
            judge_record(place)
            assert place.store.load().record == record


@examples(120)
@given(data=st.data())
def test_what_recover_puts_aside_is_kept_byte_for_byte(healthy: Place, data: st.DataObject) -> None:
    with copy_of(healthy) as place:
        content = data.draw(spoilt(document(healthy)))
        place.record.write_bytes(content)
        try:
            loaded = place.store.recover()
        except ConfigurationError:
            assert place.record.read_bytes() == content
            return
        aside = [path.read_bytes() for path in place.directory.glob(f"{FILE}.corrupt-*")]
        assert aside == ([] if loaded.notes == () else [content])


MENDED = (
    ("healthy", ("workspace",), '"\\ud800"'),
    ("healthy", ("phases", "launched", "duration_s"), "1e400"),
    ("healthy", ("phases", "launched", "duration_s"), "NaN"),
    ("healthy", ("tries",), '{"launched": 1' + "0" * 400 + "}"),
    ("failed", ("last_error", "message"), '"\\udfff"'),
    ("failed", ("last_error", "at"), '"0001-01-01T00:00:00+23:59"'),
    ("failed", ("last_error", "at"), '"9999-12-31T23:59:59-23:59"'),
    ("in_flight", ("transition", "started_at"), '"0001-01-01T00:00:00+23:59"'),
    ("in_flight", ("transition", "pid"), "-1"),
    ("in_flight", ("transition", "pid"), "9" * 400),
    ("in_flight", ("transition", "uptime_s"), "1e400"),
)


@pytest.mark.parametrize(("kind", "at", "token"), MENDED)
def test_a_record_with_one_odd_value_is_shown_and_mended(
    request: pytest.FixtureRequest, kind: str, at: tuple[str, ...], token: str
) -> None:
    template = places(request, kind)
    with copy_of(template) as place:
        good = document(template)
        parent = good
        for key in at[:-1]:
            parent = parent[key]
        parent[at[-1]] = "@"
        place.record.write_text(json.dumps(good).replace('"@"', token))
        found = place.open().status()
        output.result(render(found))
        output.document(found.document)
        assert up(place) is Phase.HEALTHY
        judge_record(place)
        record = place.store.load().record
        assert record is not None
        place.store.save(record)  # as the next command that changes something does
        judge_record(place)


@pytest.mark.parametrize("content", [None, b"", b"{"])
def test_after_a_loss_the_record_is_there_again_even_where_nothing_was_to_be_done(
    healthy: Place, content: bytes | None
) -> None:
    with copy_of(healthy) as place:
        (place.directory / BACKUP).write_bytes(place.record.read_bytes())
        place.record.unlink()
        if content is not None:
            place.record.write_bytes(content)
        assert up(place) is Phase.HEALTHY
        judge_record(place)


versions = st.one_of(
    st.integers(),
    st.integers(min_value=SCHEMA_VERSION),
    st.integers(min_value=10**300, max_value=10**400),
    st.booleans(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([None, [], {}, f"{SCHEMA_VERSION + 1}", float(SCHEMA_VERSION + 1), [SCHEMA_VERSION + 1]]),
)


@examples(100)
@given(version=versions)
@example(version=True)
@example(version=float(SCHEMA_VERSION))
@example(version=10**4200)
def test_a_schema_version_is_ours_or_newer_and_refused_untouched_or_damage(healthy: Place, version: object) -> None:
    with copy_of(healthy) as place:
        place.record.write_text(json.dumps({**document(healthy), "schema_version": version}))
        content = place.record.read_bytes()
        result = up(place)
        newer = isinstance(version, int) and not isinstance(version, bool) and version > SCHEMA_VERSION
        assert isinstance(result, ConfigurationError) is newer
        if newer:
            assert place.record.read_bytes() == content
            return
        assert result is Phase.HEALTHY
        judge_record(place)
        known = isinstance(version, int) and not isinstance(version, bool) and 0 < version <= SCHEMA_VERSION
        kept = {path.name for path in place.directory.iterdir() if path.read_bytes() == content} - {BACKUP}
        assert all(
            re.fullmatch(rf"{FILE}|{FILE}\.schema-\d+" if known else rf"{FILE}\.corrupt-\w+", name) for name in kept
        )
        assert kept


def judge_record(place: Place, left: bytes = b"") -> None:
    """Check the record; one that was only read, and left as it is, may be written in a way that we would not."""
    content = place.record.read_bytes()
    if content != left:
        SCHEMA.validate(json.loads(content, parse_constant=pytest.fail))
    loaded = place.store.load()
    assert loaded.record is not None
    assert loaded.notes == ()


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}
