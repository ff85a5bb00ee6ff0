"""A bundle for a bug report: what a workspace is and what was logged of it, in one file, without its secrets.

Each part is had by itself; what cannot be had is named in the manifest with the reason.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import os
import platform
import sys
import tarfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polis import __version__, log
from polis.addresses import struck_in_values
from polis.errors import PolisError, UsageError
from polis.scrubbing import as_json, scrubbed, scrubbed_document, scrubbed_lines, scrubbed_values
from polis.store import Store, explain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from typing import IO

    from polis.config import Spec
    from polis.logs.lines import Take
    from polis.paths import Paths
    from polis.workspace import Workspace

    Parts = Mapping[str, Callable[[], str]]

PART_LIMIT = 2 * 1024 * 1024
"""Characters of a part; of more, the last lines are taken."""

LINES = 2000
"""The last lines of each log."""

LINED = ("journal.jsonl", log.FILE, f"{log.FILE}.1")
"""Files of JSON lines."""

MANIFEST = "manifest.json"
ADVICE = "Known secrets are struck out. Look at it before you send it: polis cannot know all that is secret to you."

_LIBRARIES = (
    "cryptography",
    "filelock",
    "psutil",
    "pydantic",
    "rich",
    "ruamel.yaml",
    "structlog",
    "transitions",
    "typer",
)


@dataclass(frozen=True)
class Written:
    """A bundle: where it is, what is in it by name and bytes, and what is not, with the reasons."""

    path: Path
    size: int
    parts: Mapping[str, int]
    omitted: Mapping[str, str]

    def document(self) -> dict[str, Any]:
        """Return it as JSON-ready values."""
        parts = [{"name": name, "size": size} for name, size in self.parts.items()]
        omitted = [{"name": name, "reason": reason} for name, reason in self.omitted.items()]
        return {"file": str(self.path), "size": self.size, "parts": parts, "omitted": omitted, "advice": ADVICE}


def parts(name: str, paths: Paths, workspace: Workspace | PolisError) -> dict[str, Callable[[], str]]:
    """Return what there may be, each by its name in the bundle; without a workspace, why there is none."""

    def of(read: Callable[[Workspace], str]) -> Callable[[], str]:
        def found() -> str:
            if isinstance(workspace, PolisError):
                raise workspace
            return read(workspace)

        return found

    directory = paths.workspace(name)
    files: dict[str, Callable[[], str]] = {
        "record.json": lambda: _file(directory / "state.json"),
        **{name: functools.partial(_file, directory / name) for name in LINED},
    }
    guest = {
        "guest/services.log": "services",
        "guest/journal.log": "guest",
        "guest/cloud-init-output.log": "cloud-init",
        "guest/cloud-init.log": "cloud-init-detail",
        "guest/containers.txt": "containers",
    }
    return {
        "versions.json": lambda: as_json(_versions()),
        "configuration.json": of(lambda there: as_json(_configuration(there.spec))),
        "doctor.json": of(lambda there: as_json(_findings(there, paths))),
        "status.json": of(lambda there: as_json(there.status().document)),
        "plan.json": of(_plan),
        "history.json": of(lambda there: as_json([run.document() for run in there.history()])),
        **files,
        "console.log": of(functools.partial(_console, directory)),
        **{part: of(functools.partial(_inside, directory, source)) for part, source in guest.items()},
    }


def write(target: Path, found: Parts, about: Mapping[str, Any]) -> Written:
    """Write the parts to a new file that only its owner can read; `about` goes into the manifest.

    Raises UsageError if the file is there already, HostUnsuitable if it cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(target, flags, 0o600)
    except FileExistsError as error:
        raise UsageError(
            f"{target} is there already", remains="it is as it was", hint="name another file, or remove that one"
        ) from error
    except OSError as error:
        raise _unwritable(error, target) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            sizes, omitted = _fill(file, target.name.removesuffix(".gz").removesuffix(".tar"), found, about)
    except OSError as error:
        _remove(target)
        raise _unwritable(error, target) from error
    except BaseException:
        _remove(target)
        raise
    return Written(target, target.stat().st_size, sizes, omitted)


def _fill(
    file: IO[bytes], folder: str, found: Parts, about: Mapping[str, Any]
) -> tuple[dict[str, int], dict[str, str]]:
    texts, omitted = _collected(found)
    # Struck through last: what one part learned of secrets counts for all.
    data = {name: _scrubbed(name, text).encode(errors="replace") for name, text in texts.items()}
    omitted = {name: scrubbed(reason) for name, reason in omitted.items()}
    sizes = {name: len(content) for name, content in data.items()}
    told = {"schema": 1, **about, "parts": sizes, "omitted": omitted, "advice": ADVICE}
    manifest = as_json(scrubbed_values(told))
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, content in {MANIFEST: manifest.encode(errors="replace"), **data}.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
    return sizes, omitted


def _collected(found: Parts) -> tuple[dict[str, str], dict[str, str]]:
    texts: dict[str, str] = {}
    omitted: dict[str, str] = {}
    for name, read in found.items():
        try:
            texts[name] = _bounded(read())
        except PolisError as error:
            omitted[name] = str(error)
        except FileNotFoundError:
            omitted[name] = "there is none"
        except Exception as error:  # noqa: BLE001 -- a bug in one part is what the report may be about
            omitted[name] = f"{type(error).__name__}: {error}"
    return texts, omitted


def _scrubbed(name: str, text: str) -> str:
    """Return a part without secrets. A document stays one: a hidden value may be as long as a number in it."""
    if name.endswith(".json"):
        return scrubbed_document(text)
    return scrubbed_lines(text) if name in LINED else scrubbed(text)


def _bounded(text: str) -> str:
    """Return the last lines of what is too long: whole lines, for half a secret would not be known."""
    return text if len(text) <= PART_LIMIT else text[-PART_LIMIT:].partition("\n")[2]


def _file(path: Path) -> str:
    """Return the end of a file, in whole lines. Raises FileNotFoundError, OSError."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - PART_LIMIT))
        text = file.read(PART_LIMIT).decode("utf-8", "replace")
    return text if size <= PART_LIMIT else text.partition("\n")[2]


def _versions() -> dict[str, Any]:
    libraries = {}
    for library in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            libraries[library] = importlib.metadata.version(library)
    system = f"{platform.system()} {platform.release()} {platform.version()}"
    host = {"system": system, "machine": platform.machine(), "python": platform.python_version()}
    return {"polis": __version__, **host, "executable": sys.executable, "libraries": libraries}


def _configuration(spec: Spec) -> dict[str, Any]:
    content: dict[str, Any] = struck_in_values(spec.model_dump(mode="json"))
    content["env"] = dict.fromkeys(content["env"], "[redacted]")
    return content


def _findings(workspace: Workspace, paths: Paths) -> list[dict[str, Any]]:
    from polis.doctor import examination

    return [finding.payload() for finding in examination.examine(workspace.spec, paths, workspace)]


def _plan(workspace: Workspace) -> str:
    from polis.workspace import UpOptions

    return as_json(workspace.plan(UpOptions()).document())


def _console(directory: Path, workspace: Workspace) -> str:
    from polis.logs import console

    return _taken(directory, workspace, lambda take: console.read(workspace.vm, LINES, take))


def _inside(directory: Path, source: str, workspace: Workspace) -> str:
    from polis.logs import inside

    return _taken(directory, workspace, lambda take: inside.read(workspace.vm, inside.Request(source, LINES), take))


def _taken(directory: Path, workspace: Workspace, read: Callable[[Take], object]) -> str:
    """Return the lines that are read of the VM. Raises ForeignInstance before any if it is somebody else's."""
    from polis import ownership

    ownership.require_own(workspace.vm, Store(directory).load().record)
    lines: list[str] = []
    read(lines.append)
    return "".join(f"{line}\n" for line in lines)


def _unwritable(error: OSError, target: Path) -> PolisError:
    problem = explain(error, target)
    problem.remains = "no file was written"
    problem.hint = "name another file: `polis support-bundle FILE`"
    return problem


def _remove(target: Path) -> None:
    with contextlib.suppress(OSError):
        target.unlink()
