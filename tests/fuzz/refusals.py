"""What an error must be that refuses what a user wrote."""

from __future__ import annotations

from polis.errors import ExitCode, PolisError


def judge(error: PolisError, *, naming: str = "") -> None:
    """Check that it ends with the exit code for input, and names the file or variable."""
    assert error.exit_code is ExitCode.CONFIGURATION
    assert naming in f"{error.message}\n{error.cause}"
    assert error.hint
