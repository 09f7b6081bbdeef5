"""`freehold down`, `status`, `logs`, `claim`: about the instance that runs on a state folder."""

import asyncio
import os
import time
from typing import Annotated

import typer

from freehold.cli.output import AsJson, State, fail, people, show_json, show_table, size, spoken
from freehold.cli.work import on_database, origin
from freehold.identity import accounts
from freehold.protocol.errors import Refused
from freehold.settings import load
from freehold.storage import users
from freehold.supervisor import control
from freehold.supervisor.instance import read_instance

_STOP_SECONDS = 30


def down(state: State = None, as_json: AsJson = False) -> None:
    """Stop Freehold on this state folder. Does nothing when it is not running."""
    with spoken(as_json):
        layout = load(state).layout
        running = read_instance(layout)
        if running is not None:
            asyncio.run(control.ask(layout.control_socket, "stop"))
            deadline = time.monotonic() + _STOP_SECONDS
            while read_instance(layout) is not None:
                if time.monotonic() > deadline:
                    fail(
                        as_json,
                        f"it has not stopped within {_STOP_SECONDS} s",
                        f"Process {running.pid} is still there.",
                    )
                time.sleep(0.05)
        if as_json:
            show_json({"stopped": running is not None})
        else:
            people.print("Freehold is stopped." if running else "Freehold was not running.")


def status(state: State = None, as_json: AsJson = False) -> None:
    """What runs: address, processes, memory, runners and their seal."""
    with spoken(as_json):
        answer = asyncio.run(control.ask(load(state).layout.control_socket, "status"))
    if as_json:
        show_json(answer)
        return
    people.print(f"[bold]{answer['url']}[/]  {answer['state']}  (driver: {answer['driver']})", soft_wrap=True)
    show_table(
        "Processes",
        ["name", "pid", "memory", "restarts", "up"],
        [
            [p["name"], str(p["pid"] or "–"), size(p["resident_bytes"]), str(p["restarts"]), f"{p['up_seconds']:.0f} s"]
            for p in answer["processes"]
        ],
    )
    show_table(
        "Runners",
        ["name", "state", "in flight", "slots", "engines"],
        [
            [r["name"], r["state"], str(r["in_flight"]), str(r["slots"]), ", ".join(e["name"] for e in r["engines"])]
            for r in answer["runners"]
        ],
    )
    memory = answer["memory"]
    people.print(
        f"Memory: {size(memory['stack_bytes'])} without the model's weights, {size(memory['weights_bytes'])} weights"
    )


def logs(
    name: Annotated[str, typer.Argument(help="Which process: edge, gateway, console, supervisor, runner …")] = "",
    state: State = None,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines from the end.", min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what the processes wrote: never what people wrote. Without a name: which logs there are."""
    with spoken(as_json):
        folder = load(state).layout.logs
        found = sorted(path for path in folder.glob("*.*") if path.is_file()) if folder.is_dir() else []
        if not name:
            sizes = {path.name: path.stat().st_size for path in found}
            if as_json:
                show_json([{"name": log, "bytes": count} for log, count in sizes.items()])
            else:
                show_table("Logs", ["name", "size"], [[log, size(count)] for log, count in sizes.items()])
            return
        chosen = [path for path in found if path.name.startswith(name)]
        if not chosen:
            raise Refused("There is no such log. 'freehold logs' lists them.", status=404)
        tails = {path.name: path.read_text(errors="replace").splitlines()[-lines:] for path in chosen}
    if as_json:
        show_json(tails)
        return
    for log, tail in tails.items():
        for line in tail:
            print(f"{log}: {line}" if len(tails) > 1 else line)
    if follow:
        os.execvp("tail", ["tail", "-n", "0", "-F", *map(str, chosen)])  # noqa: S606 - the user's own tail


def claim(state: State = None, as_json: AsJson = False) -> None:
    """A fresh one-time link for the first administrator; earlier ones end."""
    with spoken(as_json):
        settings = load(state)

        async def work() -> str:
            async with on_database(settings) as (database, workspace):
                async with database.read() as connection:
                    if await users.count(connection, workspace.id):
                        raise Refused("This Freehold has an owner already. Sign in, or ask them for an account.")
                key = settings.layout.secret("credentials")
                return await accounts.create_claim(database, key, workspace.id, settings.console.claim_hours)

        secret = asyncio.run(work())
        url = f"{origin(settings, None)}/claim#token={secret}"
    if as_json:
        show_json({"claim_url": url})
    else:
        people.print(url, soft_wrap=True)
