"""Polis takes a machine from nothing to a healthy, hardened workspace VM for AI agents."""

__version__ = "0.5.0"
