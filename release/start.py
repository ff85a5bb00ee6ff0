"""The start of the single file: it unpacks once what the file carries, then runs polis from there.

Python can import no compiled modules from a zip file, so they have to lie somewhere: in the user's cache, in a place
that only they can write, named by the sha256 of its content. This module is all that Python reads of the file at every
later start, so it imports nothing but what Python has imported already. It is written for Python 3.6 too, to tell
its users what is wrong.
"""

import os
import sys

# The three are filled in by release/singlefile.py.
SHA256 = ""
PLATFORM = ""
PYTHONS: "tuple[str, ...]" = ()

SINGLE_FILE = os.path.dirname(os.path.abspath(__file__))
"""The path of this file; `polis update` looks here for what it replaces."""

PAYLOAD = "polis.zip"
UNSUITABLE, DAMAGED = 69, 77
"""Exit codes, as in polis/errors.py."""

DAY = 24 * 3600.0


def main() -> None:
    """Run polis, with this process's arguments."""
    _require_this_machine()
    place = os.path.join(_cache(), "app", "%s-cp%d%d" % (SHA256[:16], *sys.version_info[:2]))
    if not (os.path.isdir(place) and _is_private(place)):
        place = _unpacked(place)
    sys.path[0] = place  # instead of this file, in which nothing is to be looked for any more
    from polis.__main__ import main as run

    run()


def _require_this_machine() -> None:
    python = "%d.%d" % sys.version_info[:2]
    if sys.implementation.name != "cpython" or python not in PYTHONS:
        _end("it needs CPython %s to %s; this is %s %s" % (PYTHONS[0], PYTHONS[-1], sys.implementation.name, python))
    if _platform() != PLATFORM:
        _end("it was built for %s; this is %s" % (PLATFORM, _platform()))


def _platform() -> str:
    system = {"linux": "linux", "darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    if "musl" in getattr(sys.implementation, "_multiarch", ""):
        system += "-musl"
    machine = os.uname().machine if hasattr(os, "uname") else "AMD64"
    return system + "-" + {"AMD64": "x86_64", "aarch64": "arm64"}.get(machine, machine)


def _cache() -> str:
    """Return the directory that polis.paths calls the cache."""
    home = os.path.expanduser("~")
    if os.environ.get("POLIS_HOME"):
        return os.path.join(os.path.abspath(os.path.expanduser(os.environ["POLIS_HOME"])), "cache")
    if sys.platform == "win32":
        return os.path.join(os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local"), "polis", "Cache")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches", "polis")
    given = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(given if os.path.isabs(given) else os.path.join(home, ".cache"), "polis")


def _is_private(place: str) -> bool:
    """Return whether nobody else can put code there: `sudo polis` may see the home of somebody who is not root."""
    if os.name != "posix":
        return True
    user = os.geteuid()
    if os.lstat(place).st_uid != user or os.stat(place).st_mode & 0o022:
        return False
    above = os.path.dirname(os.path.realpath(place))
    while above != os.path.dirname(above):
        found = os.stat(above)
        if found.st_uid not in (0, user) or (found.st_mode & 0o002 and not found.st_mode & 0o1000):
            return False
        above = os.path.dirname(above)
    return True


def _unpacked(place: str) -> str:
    """Return a directory with the content: that place, or where it cannot be, one for this process alone."""
    import shutil
    import tempfile

    above = os.path.dirname(place)
    try:
        os.makedirs(above, 0o700, exist_ok=True)
        part = tempfile.mkdtemp(prefix=".", dir=above)
        try:
            if not _is_private(part):
                raise OSError("somebody else can write there")
            _pour(part)
            if hasattr(os, "sync"):
                os.sync()  # a power cut must not leave the name with empty files under it
            try:
                os.rename(part, place)
            except OSError:
                if not (os.path.isdir(place) and _is_private(place)):  # another polis was faster
                    raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
        _sweep(place)
    except OSError:
        return _unpacked_for_once()
    return place


def _unpacked_for_once() -> str:
    import atexit
    import shutil
    import tempfile

    try:
        part = tempfile.mkdtemp(prefix="polis-")
        atexit.register(shutil.rmtree, part, ignore_errors=True)
        _pour(part)
    except OSError as error:
        _end("it cannot be unpacked: %s" % error)
    return part


def _pour(target: str) -> None:
    import hashlib
    import io
    import re
    import zipfile

    try:
        with zipfile.ZipFile(SINGLE_FILE) as outer:
            content = outer.read(PAYLOAD)
    except (zipfile.BadZipFile, KeyError) as error:
        _end("it is damaged: %s; download it again" % error, DAMAGED)
    if hashlib.sha256(content).hexdigest() != SHA256:
        _end("it is damaged: the sha256 of its content differs; download it again", DAMAGED)
    tag = "%d%d" % sys.version_info[:2]
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        for name in inner.namelist():
            compiled = re.search(r"\.(?:cpython-|cp)(\d+)-", name)
            if compiled is None or compiled.group(1) == tag:
                inner.extract(name, target)


def _sweep(place: str) -> None:
    """Remove what earlier versions unpacked, but for the newest: a long `polis up` may still run from it."""
    import shutil
    import time

    above, own = os.path.split(place)
    others = [os.path.join(above, name) for name in os.listdir(above) if name != own]
    finished = sorted((path for path in others if not os.path.basename(path).startswith(".")), key=os.path.getmtime)
    torn = [path for path in others if path not in finished and os.path.getmtime(path) < time.time() - DAY]
    for path in finished[:-1] + torn:
        shutil.rmtree(path, ignore_errors=True)


def _end(words: str, code: int = UNSUITABLE) -> None:
    sys.stderr.write("error: %s cannot be run here: %s\n" % (SINGLE_FILE, words))
    sys.exit(code)


if __name__ == "__main__":
    main()
