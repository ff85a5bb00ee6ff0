"""The part of the configuration that says which Incus or LXD server makes the instances, and of what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from polis.config_site import Section

# All become arguments of a command: none may look like an option.
Word = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=100)]
Target = Annotated[str, Field(pattern=r"^(@?[A-Za-z0-9][A-Za-z0-9._-]*)?$", max_length=100)]
Source = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._:/-]*)?$", max_length=200)]
Profile = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class IncusSpec(Section):
    """For the driver `incus`. What is empty is left to the client's and the server's own configuration.

    `target` is a member of the cluster, or `@group`. `kind` is a VM where the server can make one, if it is auto.
    """

    remote: Word = ""
    project: Word = ""
    target: Target = ""
    profiles: tuple[Profile, ...] = ()
    image: Source = ""
    kind: Literal["auto", "vm", "container"] = "auto"
