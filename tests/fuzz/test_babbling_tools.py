"""Whatever Multipass prints and whatever QEMU's instance record holds: a record, or the one declared exception."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from polis.drivers.base import Forward, Instance
from polis.drivers.multipass import records
from polis.drivers.qemu.instance import CorruptRecord, Record
from polis.drivers.toolcalls import Unreadable
from tests.fuzz.damage import TOKENS, odd_text, spoilt
from tests.fuzz.effort import examples

LIST: Any = {
    "list": [
        {"ipv4": ["10.1.2.3", "N/A"], "name": "polis", "release": "24.04 LTS", "state": "Running"},
        {"ipv4": [], "name": "other", "release": "", "state": "Deleted"},
    ]
}
VERSION: Any = {"multipass": "1.16.3", "multipassd": "1.16.3"}
INFO: Any = {"errors": [], "info": {"polis": {"cpu_count": "4", "disks": {"sda1": {"total": "1"}}, "state": "Running"}}}
RECORD = Record(
    name="polis",
    owner="id",
    uuid="6c0f2b2e-8f5e-4ad2-bd43-6a0a3b7f4a11",
    image="0" * 64,
    user="ubuntu",
    direct_kernel=False,
    direct_initrd=False,
    cmdline="",
    cpus=4,
    memory=1 << 30,
    disk=1 << 34,
    forwards=(Forward(8080, 80),),
    created=True,
)


def printed(document: Any) -> st.SearchStrategy[str]:
    return spoilt(document).map(lambda data: data.decode("utf-8", "replace"))


@examples(200)
@given(text=printed(LIST))
@example(text="[" * 100_000)
def test_list_is_read_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        for row in records.listed(text):
            assert isinstance(row.instance("multipass"), Instance)
            assert {type(word) for word in (row.name, row.state, row.release, *row.ipv4)} == {str}


@examples(200)
@given(text=printed(VERSION) | odd_text.map(lambda text: json.dumps({"multipass": text})))
@example(text='{"multipass": "%s.1.1"}' % ("9" * 5000))
@example(text='{"multipass": "1.16.0", "multipassd": null}')
def test_versions_are_read_and_compared_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        found = records.versions(text)
        assert found.older_than((1, 16, 0)) in (found.client, found.daemon, "")


@examples(200)
@given(text=printed(INFO))
@example(text='{"info": []}')
@example(text='{"info": null}')
@example(text='{"info": {"polis": []}}')
def test_details_are_read_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(records.details(text, "polis"), dict)


@examples(300)
@given(data=spoilt(json.loads(RECORD.to_json())))
@example(data=RECORD.to_json())
@example(data=b"[" * 100_000)
@example(data=RECORD.to_json().replace(b'"host": 8080', b'"host": 1e400'))
@example(data=RECORD.to_json().replace(b'"host": 8080', b'"host": NaN'))
def test_an_instance_record_is_read_or_corrupt(data: bytes) -> None:
    with contextlib.suppress(CorruptRecord):
        record = Record.from_json(data)
        assert Record.from_json(record.to_json()) == record
        assert [type(value) for value in vars(record).values()] == [type(value) for value in vars(RECORD).values()]


def test_every_token_is_tried_in_every_place_of_an_instance_record() -> None:
    good = json.loads(RECORD.to_json())
    for key in good:
        for token in TOKENS:
            text = json.dumps({**good, key: "@"}).replace('"@"', token)
            with contextlib.suppress(CorruptRecord):
                Record.from_json(text.encode())
