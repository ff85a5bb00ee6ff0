"""The passwords of the state's users, and what each of them may do (facts, "The stack")."""

from __future__ import annotations

import hashlib
import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LENGTH: Final = 32
"""Characters of a password: 190 bits of 62 letters and digits, none of which any file or shell misreads."""

_ALPHABET: Final = string.ascii_letters + string.digits
_TOKENS: Final = "~polis:ott:* ~polis:blocked:* ~polis:approved:* ~polis:log:*"


@dataclass(frozen=True)
class User:
    """A user of the state: its name there, and its rules in the language of ACL files."""

    name: str
    rules: str


USERS: Final[Mapping[str, User]] = {
    "valkey_password": User("healthcheck", "-@all +ping +info"),
    "valkey_dlp_password": User("dlp-reader", "~polis:config:security_level -@all +get +ping"),
    "valkey_mcp_agent_password": User(
        "mcp-agent",
        "~polis:blocked:* ~polis:approved:* -@all +get +set +setex +mget +exists +scan +ping +ttl"
        " (~polis:config:security_level -@all +get +ping)"
        " (~polis:log:events -@all +zadd +zremrangebyrank +zrevrange +zcard +ping)",
    ),
    "valkey_mcp_admin_password": User("mcp-admin", "~polis:* +@all -@dangerous -flushall -flushdb -debug -config"),
    "valkey_reqmod_password": User("governance-reqmod", f"{_TOKENS} -@all +get +set +setex +setnx +exists +zadd +ping"),
    "valkey_respmod_password": User("governance-respmod", f"{_TOKENS} -@all +get +del +setex +exists +zadd +ping"),
    "valkey_log_writer_password": User("log-writer", "~polis:log:events -@all +zadd +zrangebyscore +zcard +ping"),
}
"""Name of the password → whose it is."""


def new_password() -> str:
    """Return a password that nobody has had before."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


def access_list(passwords: Mapping[str, str]) -> bytes:
    """Return the state's ACL file. It holds hashes only; whoever is not in it is nobody."""
    lines = ["user default off"]
    for password, user in USERS.items():
        digest = hashlib.sha256(passwords[password].encode()).hexdigest()
        lines.append(f"user {user.name} on #{digest} {user.rules}")
    return "".join(f"{line}\n" for line in lines).encode()
