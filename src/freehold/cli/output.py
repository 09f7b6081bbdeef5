"""How commands speak: tables and sentences for people, one JSON value for programs, the same exit codes for both.

Exit codes: 0 done; 1 a check failed or the thing asked for is not there; 2 wrong usage; 3 Freehold is not running;
78 it cannot start as it is set up (each problem is named with its remedy).
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from freehold.protocol.errors import Misconfigured, Refused, Unavailable
from freehold.supervisor.control import NotRunning

State = Annotated[
    Path | None, typer.Option("--state", metavar="DIR", help="The state folder. [default: $FREEHOLD_STATE or ./state]")
]
Workspace = Annotated[
    str | None, typer.Option("--workspace", metavar="NAME", help="Which workspace. [default: the first]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value for programs.")]

people = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def show_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    print(json.dumps(msgspec.to_builtins(value)))


def show_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print rows for people; an empty table says so."""
    if not rows:
        people.print(f"{title}: none")
        return
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    people.print(table)


@contextmanager
def spoken(as_json: bool) -> Iterator[None]:
    """Turn our errors into what the user reads, and the exit code."""
    try:
        yield
    except Misconfigured as error:
        _explain(as_json, [{"what": p.what, "remedy": p.remedy} for p in error.problems], error.exit_code)
    except NotRunning as error:
        _explain(as_json, [{"what": str(error), "remedy": "Start it with 'freehold up'."}], 3)
    except (Refused, Unavailable) as error:
        _explain(as_json, [{"what": error.message, "remedy": ""}], 1)


def fail(as_json: bool, what: str, remedy: str = "", code: int = 1) -> None:
    """Say what is wrong and leave."""
    _explain(as_json, [{"what": what, "remedy": remedy}], code)


def _explain(as_json: bool, problems: list[dict[str, str]], code: int) -> None:
    if as_json:
        print(json.dumps({"problems": problems}))
    for problem in problems if not as_json else []:
        errors.print(f"[bold red]✗[/] {problem['what']}", soft_wrap=True)
        if problem["remedy"]:
            errors.print(f"  {problem['remedy']}", soft_wrap=True)
    sys.exit(code)


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
