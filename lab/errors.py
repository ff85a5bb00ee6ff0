"""What the lab raises when it cannot do what was asked."""

from __future__ import annotations


class LabError(Exception):
    """The lab could not do it; the text is written for the person who typed the command."""
