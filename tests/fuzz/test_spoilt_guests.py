"""Whatever lies in the guest and whatever its Docker says: the probe answers, and placing spoils nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polis.bundle import placed
from polis.bundle.placed import PlacedFile
from polis.guest import session
from polis.guest.remote import checks, firstboot, main, places, probe, resolving
from polis.guest.report import CloudInit, GuestReport
from tests.fuzz import tars
from tests.fuzz.damage import broken, odd_text, spoilt
from tests.fuzz.effort import examples
from tests.fuzz.guest_roots import FILES, docker_that_sends, guest_root, http

CLOUD_STATUS: Any = {
    "v1": {
        "datasource": "DataSourceNoCloud",
        "init": {"errors": [], "finished": 1.5, "recoverable_errors": {"WARNING": ["deprecated"]}, "start": 1.0},
        "modules-final": {"errors": ["failed"], "recoverable_errors": {}},
        "stage": None,
    }
}
CLOUD_RESULT: Any = {"v1": {"datasource": "DataSourceNoCloud", "errors": []}}
SERVICE: Any = {"name": "gate", "image": "r/gate:1", "one_shot": False, "config_hash": "0"}
CONTENT: dict[str, Any] = {
    "MARKER": {"workspace": "polis", "id": "1", "fingerprint": "image=1"},
    "SENTINEL": {"docker": "26"},
    "MISHAP": {"kind": "failed", "what": "x", "expected": "y", "actual": "z"},
    "CONFIGURED": {"digest": "sha256:0", "fingerprint": "bundle=0", "tree": "0"},
    "PREVIOUS": {"release": "old", "marker": {"digest": "sha256:0", "fingerprint": "bundle=0", "restored": True}},
    "CLOUD_STATUS": CLOUD_STATUS,
    "CLOUD_RESULT": CLOUD_RESULT,
    "CLOUD_LOG": "line",
}
RESOLVED: Any = {"services": [SERVICE]}
INFO: Any = {"ServerVersion": "26", "Runtimes": {"sysbox-runc": {"path": "/bin/true"}}, "SecurityOptions": ["name=x"]}
IMAGE: Any = {"Id": "sha256:1", "RepoDigests": ["r/gate@sha256:2"]}
LISTED: Any = [{"Id": "0123456789abcdef"}]
CONTAINER: Any = {
    "Id": "0123456789abcdef",
    "Image": "sha256:1",
    "State": {
        "Status": "running",
        "ExitCode": 0,
        "StartedAt": "2026-01-01T00:00:00.5Z",
        "Health": {"Status": "healthy", "Log": [{"Output": "ok"}]},
    },
    "Config": {"Labels": {"com.docker.compose.service": "gate", "com.docker.compose.config-hash": "0"}},
}
ANSWERS = (INFO, IMAGE, LISTED, CONTAINER)


def nothing(_news: dict[str, Any]) -> None:
    return


def look() -> GuestReport:
    """Probe as the host does, all the way to what it believes."""
    answer = probe.run({"checks": [], "sent": 0.0}, nothing)
    return GuestReport.model_validate(session._parse(json.dumps({"answer": answer}))["answer"])


def fill(root: Path, files: dict[str, bytes], resolved: bytes) -> None:
    for name, data in files.items():
        path = root / FILES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (root / "home/current" / places.RESOLVED).write_bytes(resolved)


GOOD = {name: json.dumps(value).encode() for name, value in CONTENT.items()}
GOOD_RESOLVED = json.dumps(RESOLVED).encode()


@st.composite
def spoilt_files(draw: st.DrawFn) -> dict[str, bytes]:
    names = draw(st.lists(st.sampled_from(sorted(CONTENT)), min_size=1, max_size=3, unique=True))
    return {**GOOD, **{name: draw(spoilt(CONTENT[name])) for name in names}}


@examples(250)
@given(files=spoilt_files(), resolved=st.just(GOOD_RESOLVED) | spoilt(RESOLVED))
@example(files={**GOOD, "MARKER": b"[]"}, resolved=GOOD_RESOLVED)
@example(files={**GOOD, "MARKER": b"{}"}, resolved=GOOD_RESOLVED)
@example(files={**GOOD, "CONFIGURED": b"{}"}, resolved=GOOD_RESOLVED)
@example(files={**GOOD, "SENTINEL": b"5"}, resolved=GOOD_RESOLVED)
@example(files={**GOOD, "MISHAP": b"{}"}, resolved=GOOD_RESOLVED)
@example(files={**GOOD, "MARKER": b"[" * 100_000}, resolved=GOOD_RESOLVED)
@example(files={**GOOD, "CLOUD_STATUS": b"[]"}, resolved=GOOD_RESOLVED)
@example(files={**GOOD, "CLOUD_STATUS": b'{"v1": {"a": {"errors": 5, "recoverable_errors": []}}}'}, resolved=b"{}")
@example(files={**GOOD, "CLOUD_RESULT": b"[]"}, resolved=b'{"services": [{}]}')
@example(files=GOOD, resolved=b'{"services": {"a": 1}}')
@example(files=GOOD, resolved=b"[]")
def test_spoilt_files_never_stop_the_probe(files: dict[str, bytes], resolved: bytes) -> None:
    with guest_root() as root, docker_that_sends([]):
        fill(root, files, resolved)
        report = look()
        assert report.bundle is None or not report.bundle.intact


@examples(200)
@given(status=spoilt(CLOUD_STATUS), result=spoilt(CLOUD_RESULT), log=st.binary(max_size=100))
def test_cloud_init_s_files_are_read_whatever_they_hold(status: bytes, result: bytes, log: bytes) -> None:
    with guest_root() as root:
        fill(root, {"CLOUD_STATUS": status, "CLOUD_RESULT": result, "CLOUD_LOG": log}, b"{}")
        CloudInit.model_validate(session._parse(json.dumps(firstboot.cloud_init())))


@st.composite
def engine_answers(draw: st.DrawFn) -> list[bytes]:
    answers = [http(json.dumps(each).encode()) for each in ANSWERS]
    at = draw(st.integers(0, len(answers) - 1))
    statuses = st.sampled_from([200, 200, 200, 404, 500, 204, 301, 999])
    answers[at] = draw(
        spoilt(ANSWERS[at]).flatmap(lambda body: statuses.map(lambda status: http(body, status)))
        | broken(answers[at])
        | st.binary(max_size=50)
        | st.just(b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{")
        | st.just(b"HTTP/1.1 200 X\r\n" + b"A: b\r\n" * 200 + b"\r\n")
    )
    return answers[: draw(st.integers(at + 1, len(answers)))]


@examples(250)
@given(answers=engine_answers())
@example(answers=[http(json.dumps(each).encode()) for each in ANSWERS])
@example(answers=[http(b"{}")])
@example(answers=[http(b"[]")])
@example(answers=[http(b"")])
@example(answers=[http(b"{")])
@example(answers=[http(b"[" * 100_000)])
@example(answers=[http(b"null", 204)])
@example(answers=[b"x"])
@example(answers=[b""])
@example(answers=[http(json.dumps(INFO).encode())[:-5]])
@example(answers=[http(json.dumps(INFO).encode()), http(b"5"), http(json.dumps(LISTED).encode())])
def test_no_answer_of_docker_stops_the_probe(answers: list[bytes]) -> None:
    with guest_root() as root, docker_that_sends(answers):
        fill(root, GOOD, GOOD_RESOLVED)
        report = look()
        assert report.docker.error or report.docker.version


LOOKS: list[dict[str, Any]] = [
    {"package": "docker-ce", "version": "5:*"},
    {"held": ["docker-ce"]},
    {"unit": "docker.service"},
    {"runtime": "sysbox-runc"},
    {"engine": "SecurityOptions", "contains": "name=x"},
    {"engine": "LiveRestoreEnabled", "equals": False},
    {"json": "here", "key": "a", "equals": 1},
    {"text": "here", "equals": "1"},
    {"locked": "here"},
    {"listening": [22]},
]
LINES = (
    "root:!:1::\n",
    "eve\n",
    "Package: docker-ce\nStatus: hold ok installed\nVersion: 5:1\n\n",
    "Package: docker-ce\nStatus: hold ok installed\n\n",
    "populated 1\n",
    "   0: 3500007F:0035 00000000:0000 0A 0\n",
    "   0: 3500007F 0 0 0A\n",
    "   0: 00000000:GGGG 0 0A\n",
    '{"a": 1}\n',
    "[]\n",
    "[" * 3000,
)


@examples(250)
@given(
    data=st.lists(st.sampled_from(LINES), max_size=3).map("".join).map(str.encode) | st.binary(max_size=60),
    info=spoilt(INFO),
    asked=st.sampled_from(LOOKS),
)
@example(data=b"[]", info=b"{}", asked={"json": "here", "key": "a", "equals": 1})
@example(data=b"[" * 3000, info=b"{}", asked={"json": "here", "key": "a", "equals": 1})
@example(data=b"", info=b'{"Runtimes": []}', asked={"runtime": "sysbox-runc"})
@example(data=b"", info=b'{"Runtimes": {"sysbox-runc": 5}}', asked={"runtime": "sysbox-runc"})
@example(data=b"", info=b'{"Runtimes": {"sysbox-runc": {"path": 5}}}', asked={"runtime": "sysbox-runc"})
@example(data=b"", info=b'{"SecurityOptions": 5}', asked={"engine": "SecurityOptions", "contains": "name=x"})
def test_no_check_stops_the_others(data: bytes, info: bytes, asked: dict[str, Any]) -> None:
    with guest_root() as root, pytest.MonkeyPatch.context() as patch:
        path = root / "file"
        path.write_bytes(data)
        (root / "docker.service").mkdir()
        (root / "docker.service" / "cgroup.events").write_bytes(data)
        patch.setattr(checks, "PACKAGES", path)
        patch.setattr(checks, "CGROUPS", (root,))
        patch.setattr(checks, "SOCKETS", (path,))
        here = {key: str(path) if value == "here" else value for key, value in asked.items()}
        (result,) = checks.run([{"name": "it", "look": here}], as_dictionary(info), 0.0)
        report = {"boot_id": "", "cloud_init": {"finished": True}, "checks": [result]}
        GuestReport.model_validate(session._parse(json.dumps(report)))


def as_dictionary(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def order(archive: Path, **changes: Any) -> str:
    keys = archive.with_name("secrets.tar")
    keys.unlink(missing_ok=True)
    own = PlacedFile(b"key", 0o400, os.getuid())
    return json.dumps(
        {
            "archive": str(archive),
            "digest": "sha256:" + hashlib.sha256(archive.read_bytes()).hexdigest(),
            "secrets": {"archive": str(keys), "digest": placed.write({"secrets/key": own}, keys)},
            "pins": {},
            "release": "new",
            "environment": {"POLIS_REGISTRY": "r"},
            "marker": {"fingerprint": "bundle=1"},
            **changes,
        }
    )


def compose_says(*texts: bytes | str) -> Any:
    rest = list(texts)

    def checked(*_arguments: str, content: bool = True) -> str:
        text = rest.pop(0)
        return text.decode("utf-8", "replace") if isinstance(text, bytes) else text

    return checked


CONFIG: Any = {"services": {"gate": {"image": "r/gate:1", "labels": {}, "volumes": [{"type": "bind", "source": "/x"}]}}}


LEADING_OUT = [tars.Item("l", kind=tarfile.SYMTYPE, link="../../.."), tars.Item("l/x", data=b"x")]


def place(root: Path, archive: bytes, config: bytes, hashes: str) -> int:
    path = root / "state/incoming/bundle.tar"
    path.write_bytes(archive)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resolving, "_checked", compose_says(config, hashes))
        patch.setattr(os, "sync", lambda: None)
        return main.main("placing", "place", order(path))


@examples(200)
@given(
    archive=tars.archives() | broken(tars.GOOD) | st.just(tars.GOOD) | st.just(tars.GOOD),
    config=spoilt(CONFIG) | st.just(json.dumps(CONFIG).encode()),
    hashes=odd_text | st.just("gate 0\n"),
)
@example(archive=tars.GOOD, config=json.dumps(CONFIG).encode(), hashes="gate 0\n")
@example(archive=tars.tar([tars.Item("../../../x", data=b"x")]), config=b"{}", hashes="")
@example(archive=tars.tar(LEADING_OUT), config=b"{}", hashes="")
def test_placing_is_done_or_refused_in_words_and_leaves_the_old_or_nothing(
    capsys: pytest.CaptureFixture[str], archive: bytes, config: bytes, hashes: str
) -> None:
    with guest_root() as root:
        (root / "home/configured.json").write_text("{}")
        (root / "home/releases/old/mine").write_text("mine")
        (root / "outside").write_text("outside")
        code = place(root, archive, config, hashes)
        told = capsys.readouterr()
        current = (root / "home/current").readlink()
        marked = (root / "home/configured.json").exists()
        if code == 0:
            assert "answer" in json.loads(told.out)
            assert (str(current).partition("-")[0], marked) == ("releases/new", True)
        else:
            assert told.err.strip()
            assert "Traceback" not in told.err
            assert marked is (str(current) == "releases/old")
            assert (root / "home/releases/old/mine").exists()
        allowed = {root / "home", root / "state", root / "run", root / "outside"}
        assert set(root.iterdir()) == allowed
        assert (root / "outside").read_text() == "outside"


def test_a_bundle_that_arrived_otherwise_than_it_was_sent_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with guest_root() as root:
        path = root / "state/incoming/bundle.tar"
        buffer = io.BytesIO()
        buffer.write(tars.GOOD)
        path.write_bytes(buffer.getvalue())
        wanted = order(path)
        path.write_bytes(tars.GOOD[:-1])
        assert main.main("placing", "place", wanted) == 1
        assert "the bundle arrived damaged" in capsys.readouterr().err
        assert [path.name for path in (root / "home/releases").iterdir()] == ["old"]


def test_keys_that_arrived_otherwise_than_they_were_sent_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with guest_root() as root:
        path = root / "state/incoming/bundle.tar"
        path.write_bytes(tars.GOOD)
        wanted = order(path)
        keys = path.with_name("secrets.tar")
        keys.write_bytes(keys.read_bytes()[:-1])
        assert main.main("placing", "place", wanted) == 1
        assert "keys and passwords arrived damaged" in capsys.readouterr().err
        assert [path.name for path in (root / "home/releases").iterdir()] == ["old"]
