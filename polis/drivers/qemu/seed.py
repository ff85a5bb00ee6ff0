"""The NoCloud seed: a small disk labelled `cidata` from which cloud-init takes what is special to this instance.

https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from polis import durable

if TYPE_CHECKING:
    from pathlib import Path

    from polis.drivers.qemu.keys import KeyPair

LABEL = "cidata"


def meta_data(*, name: str, owner: str, client_key: str) -> str:
    """Return the instance's metadata. JSON is YAML, and needs no quoting rules of our own."""
    document = {
        "instance-id": f"polis-{owner}",
        "local-hostname": name,
        "public-keys": [client_key],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def vendor_data(host_key: KeyPair) -> str:
    """Return a cloud-config that gives the guest the host key that this machine already trusts.

    As vendor data it stands apart from the user's document, which keeps the last word key by key. cloud-init makes
    no host keys of its own where `ssh_keys` are given.
    """
    document = {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key.private, "ed25519_public": host_key.public},
    }
    return "#cloud-config\n" + json.dumps(document, indent=1) + "\n"


def write(path: Path, *, user_data: str, meta_data: str, vendor_data: str) -> None:
    """Write the seed; only the user may read it, for it holds the guest's private host key."""
    files = {"user-data": user_data, "meta-data": meta_data, "vendor-data": vendor_data}
    durable.write(path, iso({name: text.encode() for name, text in files.items()}))


def iso(files: dict[str, bytes]) -> bytes:
    """Return an ISO 9660 image, with Rock Ridge and Joliet names, that holds these files."""
    import pycdlib

    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=LABEL)
    try:
        for name, content in files.items():
            short = name.upper().replace("-", "_")
            image.add_fp(
                io.BytesIO(content),
                len(content),
                f"/{short}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=0o100400,
            )
        target = io.BytesIO()
        image.write_fp(target)
    finally:
        image.close()
    return target.getvalue()
