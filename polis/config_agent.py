"""The part of the configuration that says which agent a workspace has, and what the agent is given."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

AGENT_NAME = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
VALUE_LIMIT = 8192
"""Characters of one value. A longer one is no key; it belongs into a file."""

_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_OWN = frozenset(
    {
        *("BASH_ENV", "CDPATH", "ENV", "HOME", "IFS", "LOGNAME", "MAIL", "OLDPWD", "PATH", "PS4", "PWD", "SHELL"),
        *("SHELLOPTS", "USER", "INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID", "MAINPID"),
        "NOTIFY_SOCKET",
    }
)
_OWN_PREFIXES = ("POLIS_", "LD_", "DYLD_", "SYSTEMD_", "BASH_FUNC_")
_SECRET = re.compile(r"(^|_)(API_?KEY|KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)$", re.IGNORECASE)
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def env_name(text: str) -> str:
    """Return the name of a variable that an agent may be given.

    Raises ValueError for what is no name, and for names by which polis, the shell or the loader are steered.
    """
    if not _ENV_NAME.fullmatch(text):
        raise ValueError("is not the name of a variable: letters, digits and _, no digit first")
    if text.upper() in _OWN or text.upper().startswith(_OWN_PREFIXES):
        raise ValueError("is not an agent's to set: it steers polis, the shell or the loader")
    return text


def line(text: str) -> str:
    """Return text that stays on its line. Raises ValueError for control and invisible characters."""
    if any(unicodedata.category(character) in _INVISIBLE for character in text):
        raise ValueError("has line breaks, control or invisible characters")
    return text


def env_value(text: str) -> str:
    """Return a value that can be written down for systemd as for a shell; the error does not repeat it.

    Raises ValueError if it is empty, longer than VALUE_LIMIT, or more than one line.
    """
    if not text or len(text) > VALUE_LIMIT:
        raise ValueError(f"must have 1 to {VALUE_LIMIT} characters")
    return line(text)


def looks_secret(name: str) -> bool:
    """Return whether a variable of this name usually holds what nobody should see."""
    return _SECRET.search(name) is not None


def _as_text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


EnvName = Annotated[str, AfterValidator(env_name)]
EnvValue = Annotated[str, BeforeValidator(_as_text), AfterValidator(env_value)]
AgentName = Annotated[str, Field(pattern=AGENT_NAME)]
AgentChoice = Annotated[str, Field(pattern=rf"^$|{AGENT_NAME}")]
"""The name of an agent; empty for none at all, whatever the workspace had."""
