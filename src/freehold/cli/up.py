"""`freehold up`: start here, in the foreground or detached, and say where to go."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import RenderableType
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from freehold.cli.output import AsJson, State, errors, people, show_json, spoken
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Settings, dump, load
from freehold.supervisor import progress as said
from freehold.supervisor.children import python_command
from freehold.supervisor.instance import read_instance
from freehold.supervisor.supervise import supervise


def up(
    state: State = None,
    port: Annotated[int | None, typer.Option(help="The TLS port. [default: 8443]", min=1, max=65535)] = None,
    bind: Annotated[
        str | None,
        typer.Option(help="The address to listen on; 0.0.0.0 opens it to your network. [default: 127.0.0.1]"),
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="A name under which people reach it (repeatable).")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file of your certificate with its chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file of its private key.")] = None,
    tls_profile: Annotated[
        Literal["modern", "intermediate"] | None, typer.Option(help="modern: TLS 1.3 only. [default: modern]")
    ] = None,
    engine: Annotated[
        str | None, typer.Option(help="Which model answers: default, small, tiny, or a name of 'freehold model list'.")
    ] = None,
    driver: Annotated[
        Literal["sandbox", "process"] | None,
        typer.Option(help="How models are boxed; 'process' seals nothing and says so. [default: sandbox]"),
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing; use the models that are here.")] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; it goes on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start Freehold: prepares everything on first use, then serves until you stop it.

    Options that should last belong in `freehold.toml` in the state folder (see docs/settings.md).
    """
    with spoken(as_json):
        settings = load(
            state,
            edge={
                "port": port,
                "bind": bind,
                "domains": tuple(domain) if domain else None,
                "tls": {
                    "certificate": tls_cert and tls_cert.resolve(),
                    "key": tls_key and tls_key.resolve(),
                    "profile": tls_profile,
                },
            },
            runner={"driver": driver},
            models={"default": engine, "offline": offline or None},
        )
        if running := read_instance(settings.layout):
            raise Misconfigured(
                Problem(
                    f"Freehold already runs on this state folder: {running.url}",
                    "Stop it with 'freehold down', or choose another folder with --state.",
                )
            )
        with _display(as_json) as display:
            if detach:
                _detached(settings, display)
            else:
                asyncio.run(_foreground(settings, display))


class _Display:
    """Shows the start's steps; keeps a failure so that the command can end with it."""

    def __init__(self, as_json: bool, bars: Progress | None) -> None:
        self._as_json = as_json
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._last = ""

    def tell(self, step: said.Progress) -> None:
        """One step of the start."""
        match step:
            case said.Step():
                self._step(step)
            case said.Notice(text):
                errors.print(f"[yellow]![/] {text}", soft_wrap=True)
            case said.Ready():
                self.stop()
                self._ready(step)
            case said.Failed(problems):
                self.stop()
                raise Misconfigured(*(Problem(p.what, p.remedy) for p in problems))

    def stop(self) -> None:
        """End the live display."""
        if self._bars is not None:
            self._bars.stop()

    def _step(self, step: said.Step) -> None:
        name = _NAMES.get(step.name, step.name)
        if step.detail:
            name = f"{name}: {step.detail}"
        if self._bars is None:
            if not self._as_json and name != self._last:
                errors.print(f"… {name}", soft_wrap=True)
            self._last = name
            return
        if name not in self._tasks:
            for task in self._tasks.values():
                self._bars.update(task, completed=1, total=1, visible=False)
            self._tasks[name] = self._bars.add_task(name, total=None)
        self._bars.update(self._tasks[name], completed=step.done or 0, total=step.total)

    def _ready(self, ready: said.Ready) -> None:
        if self._as_json:
            show_json(msgspec.structs.asdict(ready))
            sys.stdout.flush()
            return
        people.print(f"[bold green]✓[/] Freehold is ready ({ready.ready_seconds:.1f} s)\n")
        people.print(f"  [bold]{ready.url}[/]", soft_wrap=True)
        if ready.claim_url:
            people.print(f"\n  Make it yours (one use): [bold]{ready.claim_url}[/]", soft_wrap=True)
        if ready.ca_file:
            people.print(
                f"\n  Your browser will ask about the certificate until you trust {ready.ca_file}", soft_wrap=True
            )
        program, state = _program(), _state_option(ready.state)
        people.print(f"  An API key for programs: {program} key create NAME{state}", soft_wrap=True)
        people.print(f"  See for yourself that the model is sealed: {program} doctor --seal{state}\n", soft_wrap=True)


def _program() -> str:
    """How the user can call this command again: by name when it is found by name, else by its path."""
    return "freehold" if shutil.which("freehold") else os.path.relpath(sys.argv[0])


def _state_option(state: str) -> str:
    return "" if Path(state) == load().state else f" --state {state}"


class _Measured(ProgressColumn):
    """A column that shows only where there is something to measure: a download."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        """The column's own rendering, or nothing."""
        return "" if task.total is None else self._column.render(task)


_NAMES = {
    "check": "checking this machine",
    "database": "preparing the database",
    "certificate": "preparing the certificate",
    "model": "getting the model",
    "verify": "checking the model's hash",
    "edge": "starting the edge",
    "gateway": "starting the gateway",
    "console": "starting the console",
    "runner": "loading the model into its sealed box",
}


@contextlib.contextmanager
def _display(as_json: bool) -> Iterator[_Display]:
    if as_json or not errors.is_terminal:
        yield _Display(as_json, None)
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        _Measured(BarColumn()),
        _Measured(DownloadColumn()),
        _Measured(TransferSpeedColumn()),
        console=errors,
        transient=True,
    )
    with bars:
        yield _Display(as_json, bars)


async def _foreground(settings: Settings, display: _Display) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await supervise(settings, display.tell, stop)


def _detached(settings: Settings, display: _Display) -> None:
    child = subprocess.Popen(
        python_command("freehold.supervisor"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    if child.stdin is None or child.stdout is None:
        return
    child.stdin.write(dump(settings))
    child.stdin.close()
    ready = False
    try:
        for line in child.stdout:
            step = said.decode(line)
            display.tell(step)
            if isinstance(step, said.Ready):
                ready = True
                break
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    finally:
        child.stdout.close()
    if not ready:
        raise Misconfigured(
            Problem("the supervisor ended before it was ready", f"Look at {settings.layout.logs / 'supervisor.log'}.")
        )
    child.returncode = 0  # it lives on; Popen must not warn about it
