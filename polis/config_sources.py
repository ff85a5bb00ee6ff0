"""Where configuration values come from, and how a problem is traced back to its place."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polis import yamltext
from polis.defaults import FILE
from polis.errors import ConfigurationError
from polis.paths import at_home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "POLIS_"
OTHER_VARIABLES = (
    *("POLIS_CONFIG", "POLIS_HOME", "POLIS_JSON", "POLIS_QUIET", "POLIS_VERBOSE", "POLIS_NO_COLOR", "POLIS_YES"),
    "POLIS_WAIT",
)
"""Variables that set no key. Those of a single command's options begin with its name, and resemble none of these."""

SIZE_LIMIT = 1024 * 1024
"""Bytes above which a configuration file is refused."""

_PATHS = ("bundle", "cloud_init", "images_lock", "env_file")
_NESTED_PATHS = {"mirrors": (("docker", "key"), ("registry", "ca"))}
_STRUCTURED = ("retry", "ports", "image", "mirrors", "proxy", "ca_certs", "env", "offline", "incus")


@dataclass(frozen=True)
class Layer:
    """Values of one source, the directory that its relative paths start from, and the place of each key."""

    values: dict[str, Any]
    directory: Path
    source: str
    places: Mapping[tuple[str | int, ...], str] = field(default_factory=dict)


def find(file: Path | None, environ: Mapping[str, str], user_directory: Path) -> Path | None:
    """Return the file to read: --config, POLIS_CONFIG, ./polis.yaml, the user's own; None if there is none.

    Raises ConfigurationError if a file that was named is not there.
    """
    named = file or (Path(environ["POLIS_CONFIG"]) if environ.get("POLIS_CONFIG") else None)
    if named is not None:
        try:
            is_there, cause = named.is_file(), ""
        except OSError as error:  # a name that is too long, a place that may not be looked at
            is_there, cause = False, error.strerror or ""
        if not is_there:
            hint = "name the configuration file with --config"
            raise ConfigurationError(f"{named} is not a file", cause=cause, hint=hint)
        return named
    return next((path for path in (Path(FILE), user_directory / FILE) if path.is_file()), None)


def from_file(path: Path) -> Layer:
    """Read a YAML file, remembering where each key stands.

    Raises ConfigurationError with line and column for what is no YAML or no mapping.
    """
    from ruamel.yaml.comments import CommentedMap

    try:
        data = path.read_bytes()[: SIZE_LIMIT + 1]
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read", cause=error.strerror or "") from error
    if len(data) > SIZE_LIMIT:
        raise ConfigurationError(f"{path} is larger than {SIZE_LIMIT} bytes")
    document = yamltext.load(data, str(path))
    if document is None:
        return Layer({}, path.absolute().parent, str(path))
    if not isinstance(document, CommentedMap):
        raise ConfigurationError(f"{path}:1:1: the top of the file must be a mapping of keys to values")
    values, places = yamltext.plain(document, str(path))
    return Layer(values, path.absolute().parent, str(path), places)


def from_environment(environ: Mapping[str, str], keys: Sequence[str]) -> Layer:
    """Read POLIS_<KEY> for each key; lists and mappings are written as YAML: POLIS_RETRY='{attempts: 3}'.

    Raises ConfigurationError for a variable that is nearly one of these: it would be left out without a word.
    """
    _refuse_slips(environ, keys)
    values: dict[str, Any] = {}
    for key in keys:
        variable = PREFIX + key.upper()
        text = environ.get(variable)
        if text:
            values[key] = _structured(variable, text) if key in _STRUCTURED else text
    return Layer(values, Path.cwd(), "environment", {(key,): PREFIX + key.upper() for key in values})


def from_flags(flags: Mapping[str, Any]) -> Layer:
    """Take what was given on the command line; None means not given."""
    values = {key: value for key, value in flags.items() if value is not None}
    return Layer(values, Path.cwd(), "command line", {(key,): f"--{key.replace('_', '-')}" for key in values})


def merge(layers: Sequence[Layer]) -> tuple[dict[str, Any], dict[tuple[str | int, ...], str]]:
    """Return the values of all layers, later ones winning key by key, and the place of each."""
    merged: dict[str, Any] = {}
    places: dict[tuple[str | int, ...], str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            merged[key] = _anchored(key, value, layer)
            places = {at: text for at, text in places.items() if at[0] != key}
            places.update({at: text for at, text in layer.places.items() if at[0] == key})
    return merged, places


def locate(problem: dict[str, Any], places: Mapping[tuple[str | int, ...], str], keys: Sequence[str]) -> str:
    """Return one line for a validation problem: place, key, what is wrong, the nearest valid key."""
    at = tuple(problem["loc"])
    known = next((places[at[:length]] for length in range(len(at), -1, -1) if at[:length] in places), "configuration")
    name = ".".join(str(part) for part in at)
    if problem["type"] == "extra_forbidden":
        import difflib

        nearest = difflib.get_close_matches(str(at[-1]), keys, n=1) if len(at) == 1 else []
        return f"{known}: unknown key `{name}`" + (f"; did you mean `{nearest[0]}`?" if nearest else "")
    text = str(problem["msg"]).removeprefix("Value error, ")
    # What stands in a mapping is told by its own key; what stands in `env` may be somebody's key.
    silent = problem["type"] == "missing" or "env" in at or isinstance(problem.get("input"), dict)
    got = "" if silent else f" (got {_excerpt(problem.get('input'))})"
    return f"{known}: `{name}`: {text[:1].lower()}{text[1:]}{got}"


def _excerpt(value: object, limit: int = 60) -> str:
    from polis.addresses import struck_in_values

    try:
        told = json.dumps(struck_in_values(value), default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # keys that are lists, numbers of thousands of digits
        told = f"a {type(value).__name__}"
    text = told.encode(errors="replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _refuse_slips(environ: Mapping[str, str], keys: Sequence[str]) -> None:
    """Refuse what differs from a variable of ours by a letter or two. What is quite unlike them may be another's."""
    known = [*(PREFIX + key.upper() for key in keys), *OTHER_VARIABLES]
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    if not unknown:
        return
    import difflib

    for name in unknown:
        nearest = difflib.get_close_matches(name.removeprefix(PREFIX), [k.removeprefix(PREFIX) for k in known], 1, 0.8)
        if nearest:
            raise ConfigurationError(
                f"{name}: there is no such variable; did you mean `{PREFIX}{nearest[0]}`?",
                remains="nothing was changed",
                hint=f"correct it, or take it away: `unset {name}`",
            )


def _structured(variable: str, text: str) -> Any:
    if variable in ("POLIS_IMAGE", "POLIS_OFFLINE") and not text.lstrip().startswith("{"):
        return text
    return yamltext.load_plain(text, variable)


def _anchored(key: str, value: Any, layer: Layer) -> Any:
    """Make relative paths start from the place that named them, and read an image descriptor."""
    if key == "offline" and isinstance(value, dict) and isinstance(value.get("file"), str):
        return {**value, "file": layer.directory / at_home(value["file"])}
    if key in (*_PATHS, "offline") and isinstance(value, str | Path):
        return layer.directory / at_home(value)
    if key == "ca_certs" and isinstance(value, list):
        return [layer.directory / at_home(entry) if isinstance(entry, str) else entry for entry in value]
    if key in _NESTED_PATHS and isinstance(value, dict):
        return _anchored_inside(value, _NESTED_PATHS[key], layer.directory)
    return _anchored_image(value, layer) if key == "image" else value


def _anchored_image(value: Any, layer: Layer) -> Any:
    directory = layer.directory
    if isinstance(value, str) and value.endswith(".json"):
        path = directory / at_home(value)
        value, directory = _descriptor(path, layer), path.parent
    if not isinstance(value, dict):
        return value
    from polis.config import ImageSpec

    try:
        return ImageSpec.model_validate(value).relative_to(directory)
    except ValueError:
        return value  # judged with everything else, where its problems get their places


def _anchored_inside(value: dict[str, Any], places: Sequence[tuple[str, str]], directory: Path) -> dict[str, Any]:
    """Return a mapping with the paths in it made absolute, each known by the keys that lead to it."""
    changed = dict(value)
    for outer, inner in places:
        section = changed.get(outer)
        if isinstance(section, dict) and isinstance(section.get(inner), str):
            changed[outer] = {**section, inner: directory / at_home(section[inner])}
    return changed


def _descriptor(path: Path, layer: Layer) -> Any:
    try:
        value = json.loads(path.read_bytes()[:SIZE_LIMIT])
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is possible in JSON, and nowhere else
    except (OSError, ValueError, RecursionError) as error:
        place = layer.places.get(("image",), layer.source)
        reason = error.strerror if isinstance(error, OSError) else f"no JSON ({error})"
        raise ConfigurationError(
            f"{place}: `image`: the descriptor {path} cannot be read", cause=str(reason)
        ) from error
    return value
