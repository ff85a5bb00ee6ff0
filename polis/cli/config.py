"""`polis config`: what is configured, where it comes from, and how to write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polis.cli import output
from polis.cli.session import globals_of, reporting

if TYPE_CHECKING:
    from polis.cli.globals import Globals

app = typer.Typer(
    help="Show what is configured, and write a polis.yaml.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def show(context: typer.Context) -> None:
    """Print every key with its value and its origin.

    That is an option, a variable, a line of the file, or the default. Values of `env` are never shown, nor passwords
    in addresses.
    """
    options = globals_of(context)
    with reporting(options):
        from polis import config, paths

        spec, origins = config.trace(options.overrides, file=options.config, user_directory=paths.find().config)
        values = _struck(spec.model_dump(mode="json"))
        keys = {key: {"value": value, "origin": origins.get(key, "default")} for key, value in values.items()}
        if options.json:
            output.document({"schema": 1, "file": _text_of(_file(options)), "keys": keys})
        else:
            output.result("\n".join(_line(key, entry) for key, entry in keys.items()))


@app.command()
def path(context: typer.Context) -> None:
    """Print the configuration file that is read.

    If there is none, nothing is printed on stdout.
    """
    options = globals_of(context)
    with reporting(options):
        found = _file(options)
        if options.json:
            output.document({"schema": 1, "path": _text_of(found), "searched": [str(each) for each in _searched()]})
        elif found is not None:
            output.result(str(found))
        else:
            output.say(f"no file is read; looked for {' and '.join(str(each) for each in _searched())}")


@app.command()
def schema(
    context: typer.Context,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write it to this file, over what is there.")
    ] = None,
    fleet: Annotated[bool, typer.Option("--fleet", help="That of fleet.yaml.")] = False,
) -> None:
    """Print the JSON Schema of polis.yaml, or of fleet.yaml, for editors.

    An editor with a YAML language server takes it from the first line of the file:
    `# yaml-language-server: $schema=polis.schema.json`.
    """
    options = globals_of(context)
    with reporting(options):
        from polis.cli import config_schema

        whole = config_schema.fleet() if fleet else config_schema.schema()
        if write is None:
            output.document(whole)
            return
        _write(write, _as_text(whole))
        if options.json:
            output.document({"schema": 1, "path": str(write.absolute())})
        else:
            output.result(f"{write} is written")


@app.command()
def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Option("--in", help="The directory that it is written to.")] = Path(),
) -> None:
    """Write a polis.yaml with every key in comments.

    Beside it the schema for editors is written. A polis.yaml that is there is never overwritten.
    """
    options = globals_of(context)
    with reporting(options):
        from polis.cli.config_schema import NAME
        from polis.cli.config_schema import schema as whole
        from polis.defaults import FILE
        from polis.errors import UsageError

        file = directory / FILE
        document = whole()
        # The schema first: should it fail, there is no polis.yaml yet, and the command can be run again.
        try:
            is_there = file.is_symlink() or file.exists()
        except OSError as error:
            raise UsageError(f"{str(directory)[:60]} cannot be used", cause=error.strerror or "") from error
        if is_there:
            raise UsageError(
                f"{file} is there already", remains="it, as it was", hint="`polis config show` shows what is in force"
            )
        _write(directory / NAME, _as_text(document))
        _write(file, beginning(document), new=True)
        if options.json:
            output.document(
                {"schema": 1, "path": str(file.absolute()), "schema_path": str((directory / NAME).absolute())}
            )
        else:
            output.result(f"{file} is written, with {NAME} for editors\nnext: edit it, then `polis plan`")


def beginning(document: dict[str, Any]) -> str:
    """Return a polis.yaml in which every key stands in a comment, so that it changes nothing yet."""
    from polis.cli.config_schema import NAME

    lines = [
        f"# yaml-language-server: $schema={NAME}",
        "# All keys, with what holds without them. Take the # away before what you change.",
    ]
    for key, entry in document["properties"].items():
        lines += ["", f"# {entry['description']}", f"# {key}: {SAMPLES.get(key) or json.dumps(entry.get('default'))}"]
    return "\n".join(lines) + "\n"


SAMPLES = {
    "driver": "qemu",
    "image": '"24.04"',
    "memory": "8G",
    "disk": "20G",
    "timeout": "15m",
    "bundle": "./bundle",
    "offline": "./workspace.tar",
    "images_lock": "./images.lock",
    "cloud_init": "./cloud-init.yaml",
    "incus": "{remote: cluster, project: agents, image: 'images:ubuntu/24.04/cloud', kind: vm}",
    "retry": "{attempts: 6, base: 2, cap: 60, deadline: 10m, silence: 90}",
    "ports": '["8080:8080"]',
    "mirrors": "{archive: https://mirror.example/ubuntu}",
    "proxy": "http://proxy.example:3128",
    "ca_certs": "[./ca.pem]",
    "agent": "my-agent",
    "env": "{LOG_LEVEL: info}",
    "env_file": "./agent.env",
}
"""What stands behind a key whose default says too little of how it is written."""


def _file(options: Globals) -> Path | None:
    import os

    from polis import config_sources, paths

    return config_sources.find(options.config, os.environ, paths.find().config)


def _searched() -> list[Path]:
    from polis import paths
    from polis.defaults import FILE

    return [Path(FILE).absolute(), paths.find().config / FILE]


def _struck(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values without what may be somebody's key."""
    from polis.addresses import struck_in_values
    from polis.redaction import STRUCK

    return {**struck_in_values(values), "env": dict.fromkeys(values["env"], STRUCK)}


def _line(key: str, entry: dict[str, Any]) -> str:
    value = _size(entry["value"]) if key in ("memory", "disk") else entry["value"]
    told = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return output.one_line(f"{key + ':':<14}{told}  # {entry['origin']}")


def _size(value: int) -> str:
    """Return bytes as one writes them, where that is exact."""
    return f"{value >> 30}G" if value % (1 << 30) == 0 else str(value)


def _as_text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"


def _text_of(file: Path | None) -> str | None:
    return str(file.absolute()) if file is not None else None


def _write(file: Path, text: str, *, new: bool = False) -> None:
    """Write a file; `new`: only where none is. Raises HostUnsuitable."""
    from polis.errors import HostUnsuitable

    try:
        with file.open("x" if new else "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
    except OSError as error:
        raise HostUnsuitable(f"{file} cannot be written", cause=error.strerror or "") from error
