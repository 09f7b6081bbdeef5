"""`freehold limit set|list|remove`: how much workspace, groups, people, keys, models and addresses may ask for."""

import asyncio
from enum import StrEnum
from typing import Annotated

import msgspec
import typer

from freehold.admission.limits import KINDS, LimitSet
from freehold.audit import events as audit
from freehold.audit.events import Action
from freehold.audit.trail import Fields, is_id, written
from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table, spoken
from freehold.cli.work import on_database
from freehold.protocol.errors import Refused
from freehold.settings import load
from freehold.storage import limits

app = typer.Typer(help="Limits: requests, tokens, concurrency and sizes.", no_args_is_help=True)

Kind = StrEnum("Kind", {kind: kind for kind in KINDS})  # type: ignore[misc]
Of = Annotated[Kind, typer.Argument(metavar="KIND", help="workspace, group, user, key, assistant or address")]
Subject = Annotated[
    str, typer.Argument(metavar="SUBJECT", help="Its id (a model's name, an address), or '*' for each of the kind.")
]
Count = Annotated[int | None, typer.Option(min=1)]


@app.command("set")
def put(
    kind: Of,
    subject: Subject = "*",
    requests_per_minute: Count = None,
    tokens_per_minute: Count = None,
    tokens_per_day: Count = None,
    tokens_per_month: Count = None,
    concurrent: Count = None,
    largest_input: Count = None,
    largest_output: Count = None,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Set the limits of a subject, in place of those it had. In force within a second."""
    with spoken(as_json):
        settings = load(state)
        wanted = LimitSet(
            requests_per_minute,
            tokens_per_minute,
            tokens_per_day,
            tokens_per_month,
            concurrent,
            largest_input,
            largest_output,
        )
        if wanted == LimitSet():
            raise Refused("Name at least one limit, such as --requests-per-minute 60.")

        async def work() -> limits.StoredLimit:
            async with (
                on_database(settings, workspace_name) as (database, workspace),
                written(database) as (connection, tell),
            ):
                whose = workspace.id if kind.value == "workspace" else subject
                bounds = msgspec.json.encode(wanted).decode()
                put = await limits.put(connection, workspace.id, kind.value, whose, bounds)
                tell(Action.LIMIT_SET, **_of(kind.value, whose))
                return put

        made = asyncio.run(work())
    if as_json:
        show_json({"kind": made.kind, "subject": made.subject, "limits": msgspec.to_builtins(wanted)})
    else:
        people.print(f"The limits of {made.kind} {made.subject} are set.")


@app.command("list")
def listing(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """The limits of the workspace."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> list[limits.StoredLimit]:
            async with on_database(settings, workspace_name) as (database, workspace), database.read() as connection:
                return await limits.listed(connection, workspace.id)

        found = [(limit.kind, limit.subject, msgspec.json.decode(limit.bounds)) for limit in asyncio.run(work())]
    if as_json:
        show_json([{"kind": kind, "subject": subject, "limits": bounds} for kind, subject, bounds in found])
        return
    show_table(
        "Limits",
        ["kind", "subject", "limits"],
        [
            [kind, subject, ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in bounds.items())]
            for kind, subject, bounds in found
        ],
    )


@app.command()
def remove(
    kind: Of, subject: Subject = "*", workspace_name: Workspace = None, state: State = None, as_json: AsJson = False
) -> None:
    """Take a subject's limits away."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> None:
            async with (
                on_database(settings, workspace_name) as (database, workspace),
                written(database) as (connection, tell),
            ):
                whose = workspace.id if kind.value == "workspace" else subject
                if not await limits.remove(connection, workspace.id, kind.value, whose):
                    raise Refused("There are no such limits. 'freehold limit list' shows them.", status=404)
                tell(Action.LIMIT_REMOVE, **_of(kind.value, whose))

        asyncio.run(work())
    if as_json:
        show_json({"removed": {"kind": kind.value, "subject": subject}})
    else:
        people.print("Removed.")


def _of(kind: str, subject: str) -> Fields:
    """Whose limit it is, as the audit may have it: an id as it is, a name or an address as a hash."""
    if is_id(subject):
        return {"kind": audit.Kind(kind), "subject": subject}
    return {"kind": audit.Kind(kind), "name": None if subject == "*" else subject}
