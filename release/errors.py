"""What keeps a release from being made."""

from __future__ import annotations


class ReleaseError(Exception):
    """Something of a release is missing, or is not what it must be; the message says what and where."""
