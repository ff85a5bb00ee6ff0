"""How a release of Polis is built, checked and signed (docs/releasing.md). Not shipped in the wheel.

The workflows call what is here, so that all of it runs on a developer's machine as well.
"""
