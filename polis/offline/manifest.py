"""`manifest.json`, the last member of an offline file: what the others are, and what they have to be.

The members are `bundle.tar` (canonical), `images.lock`, `packages/<name>.deb` (what the first boot installed),
`sysbox.deb`, and `images/<id>.tar` (one for each image, as `docker save` writes it).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from polis.config_site import Sha256  # noqa: TC001 -- pydantic reads annotations when it runs

NAME: Final = "manifest.json"
BUNDLE: Final = "bundle.tar"
LOCK: Final = "images.lock"
SYSBOX: Final = "sysbox.deb"

MEMBER: Final = re.compile(
    r"bundle\.tar|images\.lock|sysbox\.deb|packages/[a-z0-9][A-Za-z0-9.+~_-]{1,200}\.deb|"
    r"images/[0-9a-f]{64}\.tar"
)
"""Names that a member may have, besides that of the manifest: they become names of files."""

MAX_MEMBERS: Final = 4096
MAX_MANIFEST: Final = 16 * 2**20
"""Bytes."""

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=4096)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Member(_Part):
    """What a member's bytes have to be."""

    size: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Package(_Part):
    """A Debian package: its member, and the paragraph by which apt knows it."""

    member: Text
    control: Annotated[str, StringConstraints(max_length=64 * 1024, pattern=r"^Package: ")]


class SavedImage(_Part):
    """An image: what it is pulled as, what it is by the registry's and by the engine's word, and its member."""

    reference: Text
    digest: Digest | Literal[""]
    id: Digest
    member: Text


class Manifest(_Part):
    """What is in the file, and what it was made from. `base` is the sha256 of the VM's base image, not included."""

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    created: Text
    polis: Text
    version: Text
    base: Text
    architecture: Text
    installed: dict[Text, Text]
    packages: tuple[Package, ...]
    images: tuple[SavedImage, ...]
    members: dict[Text, Member]
