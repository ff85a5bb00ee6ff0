"""The NoCloud seed, read back."""

from __future__ import annotations

import io
from pathlib import Path

import pycdlib
from ruamel.yaml import YAML

from polis.drivers.qemu import seed
from polis.drivers.qemu.keys import KeyPair

PAIR = KeyPair("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n-----END OPENSSH PRIVATE KEY-----\n", "ssh-ed25519 AAAA ws")
USER_DATA = '#cloud-config\n# kept: "as given"\nwrite_files: [{content: "ü€😀"}]\n'


def contents(path: Path, kind: str) -> dict[str, bytes]:
    image = pycdlib.PyCdlib()
    image.open(str(path))
    found = {}
    for name in ("user-data", "meta-data", "vendor-data"):
        target = io.BytesIO()
        image.get_file_from_iso_fp(target, **{f"{kind}_path": f"/{name}"})
        found[name] = target.getvalue()
    assert image.pvd.volume_identifier.decode().strip() == "cidata"
    image.close()
    return found


def test_the_seed_reads_back_under_both_kinds_of_names(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    seed.write(
        path,
        user_data=USER_DATA,
        meta_data=seed.meta_data(name="ws", owner="o-1", client_key="ssh-ed25519 BBBB"),
        vendor_data=seed.vendor_data(PAIR),
    )
    assert path.stat().st_mode & 0o777 == 0o600
    files = contents(path, "rr")
    assert files == contents(path, "joliet")
    assert files["user-data"].decode() == USER_DATA
    meta = YAML(typ="safe").load(files["meta-data"])
    assert meta == {"instance-id": "polis-o-1", "local-hostname": "ws", "public-keys": ["ssh-ed25519 BBBB"]}


def test_vendor_data_is_a_cloud_config_with_the_host_key() -> None:
    text = seed.vendor_data(PAIR)
    assert text.startswith("#cloud-config\n")
    document = YAML(typ="safe").load(text)
    assert document == {
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": PAIR.private, "ed25519_public": PAIR.public},
    }


def test_a_private_key_is_not_shown() -> None:
    assert "PRIVATE" not in repr(PAIR)


def test_large_user_data(tmp_path: Path) -> None:
    path = tmp_path / "seed.iso"
    seed.write(path, user_data="#cloud-config\n" + "#x\n" * 200_000, meta_data="{}", vendor_data="")
    assert len(contents(path, "rr")["user-data"]) == 600_014
