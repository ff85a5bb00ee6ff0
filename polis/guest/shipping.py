"""How the modules of `polis.guest.remote` get into the guest: inside the command line of each call.

Nothing has to be installed there, nothing can be of another version than this CLI, and a call that was cut off has
left nothing behind. Packed they are a few kilobytes, far below the limit of an argument on every platform.
"""

from __future__ import annotations

import base64
import functools
import json
import zlib
from importlib import resources

PACKAGE = "polis.guest.remote"

COMMANDS = {
    "probe": ("probe", "run"),
    "wait": ("provisioning", "wait"),
    "seal": ("provisioning", "seal"),
    "sign": ("provisioning", "sign"),
    "place": ("placing", "place"),
    "remove-bundle": ("placing", "remove"),
    "keep-vault": ("keeping", "keep"),
    "lend-vault": ("keeping", "lend"),
    "pull": ("images", "pull"),
    "remove-images": ("images", "remove"),
    "packages": ("collecting", "packages"),
    "save-image": ("collecting", "save"),
    "load-image": ("collecting", "load"),
    "discard-images": ("collecting", "discard"),
    "up": ("services", "up"),
    "watch": ("services", "watch"),
    "down": ("services", "down"),
    "stop": ("services", "stop"),
    "enter": ("entering", "enter"),
    "refusal": ("entering", "refusal"),
    "logs": ("logs", "show"),
}
"""Each command: a module, and its function of `(arguments, say)`."""

NEEDS: dict[str, tuple[str, ...]] = {
    "alone": (),
    "engine": (),
    "places": (),
    "uptime": (),
    "containers": ("uptime",),
    "checks": (),
    "firstboot": ("places",),
    "probe": ("engine", "places", "uptime", "containers", "checks", "firstboot", "releases"),
    "boottimes": ("places", "uptime"),
    "provisioning": ("places", "uptime", "firstboot", "boottimes"),
    "releases": ("engine", "places"),
    "resolving": ("places",),
    "placing": ("alone", "engine", "places", "releases", "resolving"),
    "keeping": ("places",),
    "images": ("alone", "engine"),
    "collecting": ("alone", "engine", "places"),
    "services": ("alone", "engine", "places", "uptime", "containers", "resolving"),
    "entering": ("engine", "places"),
    "logs": ("engine", "places"),
}
"""What each module imports, directly or not, each after what it imports itself. Only that is sent with it: compiling a
module takes an emulated processor tenths of a second."""

# Makes the modules importable under their own names without files, then calls the entry.
_LOADER = """\
import base64, json, sys, types, zlib
for name in ("polis", "polis.guest", "polis.guest.remote"):
    sys.modules[name] = types.ModuleType(name)
package = sys.modules["polis.guest.remote"]
for name, source in json.loads(zlib.decompress(base64.b85decode("{packed}"))):
    module = types.ModuleType("polis.guest.remote." + name)
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    exec(compile(source, "<polis " + name + ">", "exec"), module.__dict__)
sys.exit(sys.modules["polis.guest.remote.main"].main(*sys.argv[1:]))
"""


def command(name: str, arguments: dict[str, object]) -> list[str]:
    """Return the guest command line that runs one of COMMANDS as root."""
    module, function = COMMANDS[name]
    values = json.dumps(arguments, separators=(",", ":"))
    return ["sudo", "-n", "python3", "-I", "-c", _loader(module), module, function, values]


@functools.cache
def _loader(module: str) -> str:
    folder = resources.files(PACKAGE)
    names = (*NEEDS[module], module, "main")
    sources = [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in names]
    packed = base64.b85encode(zlib.compress(json.dumps(sources).encode(), 9)).decode()
    return _LOADER.replace("{packed}", packed)
