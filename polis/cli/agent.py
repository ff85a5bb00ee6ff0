"""`polis agent`: the agents that are installed on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polis.cli import completers, output
from polis.cli.session import globals_of, reporting

if TYPE_CHECKING:
    from polis.agents.reading import Agent
    from polis.agents.shelf import Shelf

app = typer.Typer(
    help="Install, show and remove agents.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(help="The agent's name.", autocompletion=completers.agents)]
NewName = Annotated[str, typer.Argument(help="The new agent's name.")]


@app.command()
def add(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The agent: a directory with an agent.yaml, or a tar of one.")],
    replace: Annotated[bool, typer.Option("--replace", help="In place of an agent of the same name.")] = False,
) -> None:
    """Check an agent and install it. Nothing of it runs; exit with 78 if it is refused."""
    options = globals_of(context)
    with reporting(options):
        from polis.agents import reading

        shelf = _shelf()
        agent = reading.read(path)
        added = shelf.add(agent, replace=replace)
        users = shelf.users(agent.name)
        if options.json:
            output.document({"schema": 1, "added": added, "agent": _document(agent, users)})
            return
        output.result(f"{agent.name} {agent.manifest.metadata.version} is {'installed' if added else 'there already'}")
        if added and users:
            output.result(f"the next `polis up` brings it to {', '.join(users)}")
        elif not users:
            output.result(f"next: polis up --agent {agent.name}")


@app.command("list")
def list_(context: typer.Context) -> None:
    """List the agents that are installed, and the workspaces that have them."""
    options = globals_of(context)
    with reporting(options):
        shelf = _shelf()
        rows = [_row(shelf, name) for name in shelf.names()]
        if options.json:
            output.document({"schema": 1, "agents": rows})
        elif rows:
            output.result("\n".join(_told(row) for row in rows))
        else:
            output.result("there is no agent; `polis agent add PATH` installs one, `polis agent new NAME` begins one")


@app.command()
def show(context: typer.Context, name: Name) -> None:
    """Show what an agent is, what it may do and what it is given; never the value of a variable."""
    options = globals_of(context)
    with reporting(options):
        shelf = _shelf()
        agent = shelf.get(name)
        document = _document(agent, shelf.users(name))
        if options.json:
            output.document({"schema": 1, "agent": document})
        else:
            output.result("\n".join(f"{label:<14}{text}" for label, text in _lines(agent, document)))


@app.command()
def remove(context: typer.Context, name: Name) -> None:
    """Remove an agent. One that a workspace has is removed only with --yes."""
    options = globals_of(context)
    with reporting(options):
        from polis.errors import UsageError

        shelf = _shelf()
        users = shelf.users(name)
        if users and not options.yes:
            raise UsageError(
                f"the agent {name} is in use by {', '.join(users)}",
                remains="the agent, as it was",
                hint=f"`polis -n {users[0]} up --no-agent` takes it from there; or add --yes",
            )
        shelf.remove(name)
        if options.json:
            output.document({"schema": 1, "removed": name, "workspaces": users})
            return
        output.result(f"{name} is removed")
        if users:
            output.result(f"still in the VM of {', '.join(users)}, whose next `polis up` needs --agent or --no-agent")


@app.command()
def new(
    context: typer.Context,
    name: NewName,
    directory: Annotated[Path, typer.Option("--in", help="Where the agent's directory is made.")] = Path(),
) -> None:
    """Write a new agent to a directory of its name, as a beginning that can be added at once."""
    options = globals_of(context)
    with reporting(options):
        from polis.agents import template

        made = template.write(name, directory)
        if options.json:
            output.document({"schema": 1, "name": name, "path": str(made.absolute())})
        else:
            output.result(f"{made} is a new agent\nnext: polis agent add {made}")


def _shelf() -> Shelf:
    from polis import paths
    from polis.agents.shelf import Shelf

    return Shelf(paths.find())


def _row(shelf: Shelf, name: str) -> dict[str, Any]:
    """Return one agent's row; a damaged one spoils its own row only."""
    from polis.errors import PolisError

    users = shelf.users(name)
    try:
        metadata = shelf.get(name).manifest.metadata
    except PolisError as error:
        return {"name": name, "version": None, "description": None, "workspaces": users, "problem": str(error)}
    return {
        "name": name,
        "version": metadata.version,
        "description": metadata.description,
        "workspaces": users,
        "problem": None,
    }


def _told(row: dict[str, Any]) -> str:
    text = output.one_line(row["problem"] or row["description"])
    users = f"  ({', '.join(row['workspaces'])})" if row["workspaces"] else ""
    return f"{row['name']:<20}{row['version'] or 'damaged':<10}{text}{users}"


def _document(agent: Agent, users: list[str]) -> dict[str, Any]:
    manifest = agent.manifest
    needs = manifest.spec.requirements
    return {
        **manifest.metadata.model_dump(mode="json", by_alias=True),
        "digest": agent.digest,
        "files": len(agent.files),
        "spec": manifest.spec.model_dump(mode="json", by_alias=True),
        "variables": [
            *({"name": name, "needed": "one-of"} for name in needs.env_one_of),
            *({"name": name, "needed": "optional"} for name in needs.env_optional),
        ],
        "workspaces": [{"name": name, "set": _set(name, manifest.name)} for name in users],
    }


def _set(workspace: str, agent: str) -> list[str]:
    """Return the names of the variables that are kept for an agent in a workspace."""
    from polis import paths
    from polis.agents import choice

    return sorted(choice.load(paths.find().secrets(workspace)).values.get(agent, {}))


def _lines(agent: Agent, document: dict[str, Any]) -> list[tuple[str, str]]:
    metadata, spec = agent.manifest.metadata, agent.manifest.spec
    needs, limit = spec.requirements, spec.resources.memory_limit
    rows = [
        ("agent", f"{metadata.name} {metadata.version}: {metadata.display_name}, {metadata.description}"),
        ("digest", agent.digest),
        ("runs", f"{spec.runtime.command} as {spec.runtime.user}"),
        ("as root", ", ".join(path for path in (spec.install, spec.init) if path)),
        ("needs one of", ", ".join(needs.env_one_of)),
        ("may be given", ", ".join(needs.env_optional)),
        ("ports", ", ".join(f"127.0.0.1:{port.default} -> {port.container}" for port in spec.ports)),
        ("keeps", ", ".join(place.container_path for place in spec.persistence)),
        ("memory", f"up to {limit >> 20} MiB" if limit else ""),
        *(("given to", f"{row['name']}: {', '.join(row['set']) or 'no keys'}") for row in document["workspaces"]),
        *(("first", f"{step.title}: {step.command}") for step in spec.onboarding),
    ]
    return [(label, text) for label, text in rows if text]
