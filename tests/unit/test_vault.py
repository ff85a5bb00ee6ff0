"""Keys and passwords are made once, renewed one by one, and kept to themselves."""

from __future__ import annotations

import hashlib
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from polis import vault
from polis.bundle.passwords import USERS
from polis.errors import ConfigurationError, HostUnsuitable
from polis.vault import LEAVES, Credentials, Vault

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def wait(self, days: float) -> None:
        self.now += timedelta(days=days)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(tmp_path: Path, clock: Clock) -> Vault:
    return Vault(tmp_path / "secrets" / "polis", clock)


def made(kept: Vault) -> Credentials:
    kept.renew("polis")
    found = kept.read()
    assert found is not None
    return found


def test_looking_makes_nothing(kept: Vault) -> None:
    assert kept.read() is None
    assert kept.lacking() == "keys and passwords are not made yet"
    assert not kept.directory.exists()


def test_everything_is_made_once(kept: Vault) -> None:
    assert set(kept.renew("polis")) == {"authority", *LEAVES, "passwords"}
    content = (kept.directory / vault.FILE).read_bytes()
    assert kept.lacking() == ""
    assert kept.renew("polis") == ()
    assert (kept.directory / vault.FILE).read_bytes() == content


def test_only_the_owner_can_read_it(kept: Vault) -> None:
    made(kept)
    assert stat.S_IMODE(kept.directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in kept.directory.iterdir()] == [0o600]


def test_seven_passwords_of_32_characters_no_two_alike(kept: Vault) -> None:
    passwords = made(kept).passwords
    assert len(passwords) == 7
    assert {len(password) for password in passwords.values()} == {32}
    assert len(set(passwords.values())) == 7


def test_the_access_list_has_a_hash_for_each_password_and_no_default_user(kept: Vault) -> None:
    found = made(kept)
    lines = found.files()["secrets/valkey_users.acl"].content.decode().splitlines()
    assert lines[0] == "user default off"
    for name, user in USERS.items():
        digest = hashlib.sha256(found.passwords[name].encode()).hexdigest()
        assert f"user {user.name} on #{digest} {user.rules}" in lines
        assert all(found.passwords[name] not in line for line in lines)


def test_a_leaf_is_renewed_before_it_ends_and_nothing_else_changes(kept: Vault, clock: Clock) -> None:
    before = made(kept)
    clock.wait(100)
    path = kept.directory / vault.FILE
    content = json.loads(path.read_bytes())
    content["pairs"]["toolbox"]["until"] = (clock.now + timedelta(days=59)).isoformat()
    path.write_bytes(vault.sealed(content))
    assert kept.lacking() == "due for renewal: toolbox"
    assert kept.renew("polis") == ("toolbox",)
    after = kept.read()
    assert after is not None
    assert after.authority == before.authority
    assert after.passwords == before.passwords
    changed = [name for name in LEAVES if after.leaves[name] != before.leaves[name]]
    assert changed == ["toolbox"]
    assert after.leaves["toolbox"].until - clock.now > timedelta(days=364)
    assert after.parts["certificates"] != before.parts["certificates"]
    assert after.parts["secrets"] == before.parts["secrets"]


def test_all_leaves_are_due_after_ten_months_and_the_authority_stays(kept: Vault, clock: Clock) -> None:
    before = made(kept)
    clock.wait(304)
    assert kept.lacking() == ""
    clock.wait(2)
    assert kept.renew("polis") == LEAVES
    after = kept.read()
    assert after is not None
    assert after.authority == before.authority


def test_a_valid_authority_is_never_replaced_and_near_its_end_nothing_is_renewed_in_vain(
    kept: Vault, clock: Clock
) -> None:
    before = made(kept)
    clock.wait(3650 - 30)
    kept.renew("polis")
    assert kept.renew("polis") == ()
    found = kept.read()
    assert found is not None
    assert found.authority == before.authority
    assert {leaf.until for leaf in found.leaves.values()} == {before.authority.until}


def test_an_authority_that_has_ended_is_replaced_with_all_that_it_signed(kept: Vault, clock: Clock) -> None:
    before = made(kept)
    clock.wait(3651)
    assert kept.renew("polis") == ("authority", *LEAVES)
    after = kept.read()
    assert after is not None
    assert after.authority != before.authority
    assert {leaf.signer for leaf in after.leaves.values()} == {after.authority.identity}
    assert after.passwords == before.passwords


def test_what_a_newer_release_needs_is_added_and_the_rest_stays(kept: Vault) -> None:
    before = made(kept)
    path = kept.directory / vault.FILE
    content = json.loads(path.read_bytes())
    del content["passwords"]["valkey_password"]
    del content["pairs"]["interception"]
    path.write_bytes(vault.sealed(content))
    assert kept.read() is None
    assert kept.renew("polis") == ("interception", "passwords")
    after = kept.read()
    assert after is not None
    assert after.leaves["toolbox"] == before.leaves["toolbox"]
    same = {name for name in USERS if after.passwords[name] == before.passwords[name]}
    assert same == USERS.keys() - {"valkey_password"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"schema": 2, "pairs": {}, "passwords": {}}',
        b'{"schema": 1, "pairs": {"authority": {}}, "passwords": {}}',
        b'{"schema": 1, "sha256": "", "pairs": {}, "passwords": {}}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_damaged_file_is_told_and_left_as_it_is(kept: Vault, content: bytes) -> None:
    made(kept)
    path = kept.directory / vault.FILE
    path.write_bytes(content)
    for act in (kept.read, kept.lacking, lambda: kept.renew("polis")):
        with pytest.raises(ConfigurationError, match="is damaged"):
            act()
    assert path.read_bytes() == content


def test_one_changed_letter_is_damage(kept: Vault) -> None:
    made(kept)
    path = kept.directory / vault.FILE
    content = json.loads(path.read_bytes())
    content["pairs"]["toolbox"]["until"] = "2030-01-01T00:00:00+00:00"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigurationError, match="is damaged"):
        kept.read()


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text("in the way")
    with pytest.raises(HostUnsuitable, match="keys"):
        Vault(tmp_path / "secrets" / "polis").renew("polis")


def test_what_is_placed(kept: Vault) -> None:
    found = made(kept)
    files = found.files()
    assert all(file.mode == 0o444 and file.owner == 0 for name, file in files.items() if b"BEGIN CERT" in file.content)
    private = {name: file for name, file in files.items() if b"BEGIN CERT" not in file.content}
    assert len(private) == 4 + 7 + 1
    assert all(file.mode == 0o400 and file.owner == 65532 for file in private.values())
    assert all(found.authority.key.encode() not in file.content for file in files.values())


def test_a_chain_of_the_interception_authority_is_placed(kept: Vault) -> None:
    found = made(kept)
    chain = found.files()["certs/interception/ca.pem"].content.decode()
    assert chain == found.leaves["interception"].certificate + found.authority.certificate


def test_nothing_secret_is_in_what_a_debugger_or_a_traceback_shows(kept: Vault) -> None:
    found = made(kept)
    shown = repr(found) + repr(found.files()) + repr(kept)
    secrets = [*found.passwords.values(), found.authority.key, *(leaf.key for leaf in found.leaves.values())]
    assert all(secret not in shown for secret in secrets)
    assert "PRIVATE" not in shown


def test_destroyed_is_gone(kept: Vault) -> None:
    made(kept)
    assert kept.destroy()
    assert not kept.directory.exists()
    assert not kept.destroy()


def test_what_cannot_be_removed_is_told(kept: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    made(kept)

    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr("polis.vault.shutil.rmtree", refuse)
    with pytest.raises(HostUnsuitable, match="removed") as caught:
        kept.destroy()
    assert "Operation not permitted" in caught.value.cause
