"""The single file: everything that polis needs but Python, as a zip file that Python runs (PEP 441).

It holds the start (release/start.py) and, in a zip file of its own, polis's wheel and those of the lock, unpacked. What
is compiled is in it for each Python of release.platforms. Nothing depends on where or when it is built.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from release import start
from release.errors import ReleaseError
from release.platforms import PYTHONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from release.platforms import Platform

SHEBANG: Final = b"#!/usr/bin/env python3\n"
TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a zip file can say, in every member."""
MODE: Final = 0o100644


def name(version: str, platform: Platform) -> str:
    """Return the file's name."""
    return f"polis-{version}-{platform.name}.pyz"


def build(target: Path, *, wheels: Iterable[Path], platform: Platform) -> None:
    """Write the single file of these wheels. Raises ReleaseError if two of them hold different files of one name."""
    payload = _zip(merged(wheels), zipfile.ZIP_DEFLATED)
    program = _start(hashlib.sha256(payload).hexdigest(), platform)
    # Stored, not compressed: Python reads the list of members at every start, and it is short.
    outer = _zip({"__main__.py": program.encode(), start.PAYLOAD: payload}, zipfile.ZIP_STORED)
    target.write_bytes(SHEBANG + outer)
    target.chmod(0o755)


def merged(wheels: Iterable[Path]) -> Mapping[str, bytes]:
    """Return the files of all wheels, as they lie when installed, without their lists and scripts."""
    found: dict[str, bytes] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as file:
            for member in file.namelist():
                folder, _, rest = member.partition("/")
                if member.endswith("/") or rest == "RECORD" or folder.endswith(".data"):
                    continue
                content = file.read(member)
                # Wheels of one version for several Pythons differ in what is compiled, and in their tags.
                if found.setdefault(member, content) != content and not _is_description(member):
                    raise ReleaseError(f"{wheel.name}: {member} differs from that of another wheel")
    return found


def _is_description(member: str) -> bool:
    return member.endswith(".dist-info/WHEEL") or ".dist-info/sboms/" in member


def _start(sha256: str, platform: Platform) -> str:
    program = Path(start.__file__).read_text(encoding="utf-8")
    for blank, filled in (
        ('SHA256 = ""', f'SHA256 = "{sha256}"'),
        ('PLATFORM = ""', f'PLATFORM = "{platform.name}"'),
        ('PYTHONS: "tuple[str, ...]" = ()', f"PYTHONS = {PYTHONS!r}"),
    ):
        if program.count(f"\n{blank}\n") != 1:
            raise ReleaseError(f"release/start.py has no line {blank}")
        program = program.replace(f"\n{blank}\n", f"\n{filled}\n")
    return program


def _zip(files: Mapping[str, bytes], method: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for member in sorted(files):
            entry = zipfile.ZipInfo(member, TIME)
            entry.external_attr = MODE << 16
            entry.create_system = 3  # Unix, wherever it is built
            entry.compress_type = method
            archive.writestr(entry, files[member], compresslevel=9)
    return target.getvalue()
