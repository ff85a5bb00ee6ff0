"""A simulated guest that does what it is told and then says something else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from polis.drivers.base import OnLine
from polis.guest import shipping
from polis.guest.report import (
    CheckResult,
    CloudInit,
    Container,
    Docker,
    GuestReport,
    Marker,
    Mishap,
    PlacedBundle,
    PresentImage,
    Service,
)
from polis.process import Completed
from tests.fuzz.damage import odd_text, spoilt
from tests.fuzz.worlds import SimulatedDriver

IMAGE = "ghcr.io/odralabshq/polis-gate:v1"
HONEST: dict[str, Any] = {
    "wait": {"cloud_init": {"finished": True}},
    "sign": {"marker": {}},
    "place": {"marker": {}},
    "pull": {"pulled": [IMAGE], "failed": {"reference": IMAGE, "error": "503"}},
    "up": {"code": 0, "words": "", "logs": {"gate": "it died"}},
    "watch": {"waiting": {"gate": "unhealthy"}, "logs": {"gate": "it died"}},
    "down": {"code": 0, "words": ""},
    "stop": {"code": 0, "words": ""},
    "remove-bundle": {"marker": None},
    "remove-images": {"problems": ["gate: in use"]},
}
"""An answer to each command, as honest guests give it."""

PROGRESS: tuple[dict[str, Any], ...] = (
    {"stage": "modules-final", "line": "installing"},
    {"reference": IMAGE, "pulled": 1, "bytes": 10, "of": 20},
    {"services": {"gate": "starting", "init": "ok"}, "expected": 2},
)


@dataclass
class Liar(SimulatedDriver):
    """Says `lies[command]` instead of the answer, once or always, and `news` while it works."""

    lies: dict[str, str] = field(default_factory=dict)
    news: tuple[str, ...] = ()
    always: bool = False

    def exec(self, *, name: str, argv: Sequence[str], timeout: float, on_line: OnLine | None = None) -> Completed:
        done = super().exec(name=name, argv=argv, timeout=timeout, on_line=on_line)
        command = next(name for name, entry in shipping.COMMANDS.items() if entry == (argv[-3], argv[-2]))
        if command not in self.lies:
            return done
        for line in self.news if on_line is not None else ():
            assert on_line is not None
            on_line(line)
        lie = self.lies[command] if self.always else self.lies.pop(command)
        return dataclasses.replace(done, stdout=lie)


def said(document: Any) -> st.SearchStrategy[str]:
    """Return what the process layer makes of a guest's output: bytes that were decoded, whatever they are."""
    lines = spoilt(document).map(lambda data: data.decode("utf-8", "replace"))
    return lines | lines.map(lambda text: f"Warning: noise\n{text}\n")


def answers(command: str) -> st.SearchStrategy[str]:
    return said({"answer": HONEST[command]})


news = st.lists(st.sampled_from(PROGRESS).flatmap(lambda part: said({"progress": part})), max_size=3).map(tuple)

# ---- reports that are valid, and strange

words = (odd_text | st.sampled_from(["gate", "init", "running", "exited", "healthy", IMAGE, "polis"])).map(
    lambda text: text[:4096]
)
hashes = st.sampled_from(["a", "b"]) | words
digests = st.lists(words | st.just(f"{IMAGE}@sha256:0"), max_size=2).map(tuple)


def many(part: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(part, max_size=3).map(tuple)


reports = st.builds(
    GuestReport,
    boot_id=words,
    marker=st.none() | st.builds(Marker, workspace=words, id=words, fingerprint=words),
    cloud_init=st.builds(
        CloudInit,
        finished=st.booleans() | st.just(value=True),
        stage=words,
        errors=many(odd_text) | st.just(()),
        recoverable=many(odd_text),
        log=many(odd_text),
    ),
    sentinel=st.none() | st.just({}),
    mishap=st.none() | st.builds(Mishap, kind=words, what=words, expected=words, actual=words),
    bundle=st.none() | st.builds(PlacedBundle, digest=words, fingerprint=words, intact=st.booleans()),
    leftovers=many(words),
    expected=many(
        st.builds(
            Service,
            name=words,
            image=words,
            reference=words,
            digest=st.sampled_from(["", "sha256:d"]),
            id=st.sampled_from(["", "sha256:1"]),
            one_shot=st.booleans(),
            config_hash=hashes,
        )
    ),
    images=many(st.builds(PresentImage, reference=words, id=words, digests=digests)),
    containers=many(
        st.builds(
            Container,
            id=words,
            service=words,
            config_hash=hashes,
            image_id=words,
            state=words,
            exit_code=st.integers() | st.just(10**400),
            this_boot=st.booleans(),
            health=words,
            detail=words,
        )
    ),
    docker=st.builds(Docker, version=words, error=words) | st.just(Docker()),
    checks=many(st.builds(CheckResult, name=words, ok=st.booleans(), expected=words, actual=words)),
)


@st.composite
def twisted(draw: st.DrawFn, honest: GuestReport) -> GuestReport:
    """Draw an honest report with some strange parts: those get further than one that is strange all over."""
    strange = draw(reports)
    names = draw(st.lists(st.sampled_from(sorted(GuestReport.model_fields)), max_size=4, unique=True))
    return honest.model_copy(update={name: getattr(strange, name) for name in names})


def report_answer(report: GuestReport) -> str:
    return json.dumps({"answer": json.loads(report.model_dump_json())})
