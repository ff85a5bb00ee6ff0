"""From a directory or a tar to an agent: everything in it checked, and every problem of its manifest told at once."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from polis import yamltext
from polis.agents.manifest import Manifest
from polis.agents.words import inside
from polis.bundle.archive import Shape
from polis.bundle.archive import read as read_tree
from polis.bundle.placed import PlacedFile
from polis.config_sources import SIZE_LIMIT, locate
from polis.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MANIFEST: Final = "agent.yaml"
SHAPE: Final = Shape("agent", MANIFEST, frozenset({".env", ".polis"}))
"""Keys do not belong into an agent's directory, which is copied and shown to the agent."""

SCRIPTS: Final = ("install", "init", "commands")
"""Keys of `spec` that name a file of the agent, which must say itself what runs it."""


@dataclass(frozen=True)
class Agent:
    """A checked agent."""

    manifest: Manifest
    digest: str
    """`sha256:<hex>` of the canonical tar: equal exactly when the content is equal."""
    content: bytes = field(repr=False)
    """The canonical tar."""
    files: Mapping[str, PlacedFile] = field(repr=False)
    """What is in it, by name."""

    @property
    def name(self) -> str:
        """Return the agent's name."""
        return self.manifest.name


def read(source: Path, *, called: str = "") -> Agent:
    """Read and check an agent: a directory, a .tar or a .tar.gz; `called` is its manifest's name in messages.

    Raises ConfigurationError: it cannot be read, an entry is refused, or its manifest has problems.
    """
    tree = read_tree(source, SHAPE)
    files = _files(source, tree.content)
    name = called or str(source / MANIFEST if source.is_dir() else f"{source}:{MANIFEST}")
    return Agent(_manifest(files, name), tree.digest, tree.content, files)


def _files(source: Path, content: bytes) -> dict[str, PlacedFile]:
    found: dict[str, PlacedFile] = {}
    with tarfile.open(fileobj=io.BytesIO(content), encoding="utf-8") as tar:
        for member in tar:
            if member.issym():
                raise ConfigurationError(
                    f"the agent {source} is refused",
                    f"{member.name!r} is a symbolic link; an agent has only files and directories",
                )
            data = tar.extractfile(member) if member.isreg() else None
            if data is not None:
                found[member.name] = PlacedFile(data.read(), member.mode)
    return found


def _manifest(files: Mapping[str, PlacedFile], name: str) -> Manifest:
    text = files[MANIFEST].content
    if len(text) > SIZE_LIMIT:
        raise ConfigurationError(f"{name} is larger than {SIZE_LIMIT} bytes")
    document = yamltext.load(text, name)
    if not isinstance(document, dict):
        raise ConfigurationError(f"{name}:1:1: the top of the file must be a mapping of keys to values")
    values, places = yamltext.plain(document, name)
    places[()] = f"{name}:1:1"
    problems = _absent(values, places, files)
    try:
        manifest = Manifest.model_validate(values)
    except ValidationError as error:
        keys = [field.alias or key for key, field in Manifest.model_fields.items()]
        problems = [*(locate(dict(problem), places, keys) for problem in error.errors()), *problems]
    else:
        if not problems:
            return manifest
    raise ConfigurationError(
        problems[0] if len(problems) == 1 else f"{name} has {len(problems)} problems",
        cause="\n".join(problems) if len(problems) > 1 else "",
        remains="nothing was changed",
    )


def _absent(
    values: dict[str, Any], places: Mapping[tuple[str | int, ...], str], files: Mapping[str, PlacedFile]
) -> list[str]:
    """Return the problems with files that the manifest names."""
    spec: Any = values.get("spec")
    problems = []
    for key in SCRIPTS if isinstance(spec, dict) else ():
        path = spec.get(key)
        if not isinstance(path, str) or _leaves(path):
            continue  # told with everything else that the manifest says
        reason = ""
        if path not in files:
            reason = f"there is no file {path} in the agent's directory"
        elif not files[path].content.startswith(b"#!"):
            reason = f"{path} does not begin with #!, so nothing says what runs it"
        if reason:
            problems.append(f"{places[('spec', key)]}: `spec.{key}`: {reason}")
    return problems


def _leaves(path: str) -> bool:
    try:
        inside(path)
    except ValueError:
        return True
    return False
