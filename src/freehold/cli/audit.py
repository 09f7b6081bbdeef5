"""`freehold audit …`: read, search, export, verify, prove and prune the tamper-evident log.

`verify` needs neither a database nor a running Freehold, only the folder (or a copy of it) and the public key; its exit
code is 0 when the log is sound, 1 when it is not, 78 when there is nothing to check. Reading and pruning work while
Freehold runs or not.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from freehold.audit import index, ocsf, prune
from freehold.audit import verify as verifying
from freehold.audit.events import Action, By, Entry, Event, Outcome, as_json, decode
from freehold.audit.folder import CHECKPOINT, VERIFIER, Snapshot
from freehold.audit.log import AuditLog, signer
from freehold.audit.note import Signer, Verifier
from freehold.audit.prove import check, prove, prove_growth
from freehold.cli.output import AsJson, State, people, show_json, show_table, spoken
from freehold.cli.work import login_user
from freehold.protocol.errors import Misconfigured, Problem, Refused
from freehold.settings import Settings, load
from freehold.storage import audit
from freehold.storage.engine import Database

app = typer.Typer(help="The tamper-evident log: who did what, and the proof of it.", no_args_is_help=True)

Since = Annotated[str | None, typer.Option(metavar="TIME", help="From this time on: 2026-01-31 or 2026-01-31T12:00.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")]


class Form(StrEnum):
    """How an export is written."""

    JSON = "json"
    OCSF = "ocsf"


@app.command()
def tail(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many entries.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """The newest entries, oldest first."""
    with spoken(as_json):
        folder, key = _log(load(state))
        snapshot = Snapshot(folder, key)
        place = max(snapshot.size - count, 0)
        while True:
            for number, entry in snapshot.entries(place):
                _show(decode(entry), as_json)
                place = number + 1
            if not follow:
                return
            time.sleep(0.5)
            snapshot = Snapshot(folder, key)


@app.command()
def search(
    action: Annotated[str | None, typer.Option(help="An action such as key:create, or a subject such as key.")] = None,
    actor: Annotated[str | None, typer.Option(help="The id of who did it.")] = None,
    subject: Annotated[str | None, typer.Option(help="The id of what it was done to.")] = None,
    workspace: Annotated[str | None, typer.Option(help="The workspace's id.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="How it went.")] = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 100,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Fill the index anew from the files first.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Find entries, the newest first. Reads the index in the database, after bringing it up to date."""
    with spoken(as_json):
        settings = load(state)
        folder, key = _log(settings)
        wanted = audit.Wanted(
            action=action,
            actor=actor,
            subject=subject,
            workspace_id=workspace,
            outcome=outcome.value if outcome is not None else None,
            since=_time(since),
            until=_time(until),
        )

        async def work() -> list[audit.Row]:
            snapshot = Snapshot(folder, key)
            async with Database(settings.database_url) as database:
                await (index.rebuild if rebuild else index.catch_up)(database, snapshot)
                async with database.read() as connection:
                    return await audit.search(connection, wanted, limit)

        _need_database(settings)
        found = [decode(row.entry.encode()) for row in asyncio.run(work())]
    if as_json:
        show_json([as_json_of(entry) for entry in found])
    else:
        show_table("Entries", ["entry", "time", "action", "what"], [_row(entry) for entry in found])


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="Where to; it must not be there yet.")],
    form: Annotated[Form, typer.Option(help="json: entries as they are; ocsf: for collectors.")] = Form.JSON,
    since: Since = None,
    until: Until = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Write entries as JSON lines. That they were exported is itself an entry."""
    with spoken(as_json):
        settings = load(state)
        folder, key = _log(settings)
        snapshot = Snapshot(folder, key)
        begin, end = _time(since) or 0.0, _time(until) or float("inf")
        event = Event(action=Action.AUDIT_EXPORT, by=By.COMMAND, uid=login_user(), first=0, end=snapshot.size)
        _record(settings, event)
        count = 0
        try:
            with file.open("xb") as out:
                for entry in _between(snapshot, begin, end):
                    value = as_json_of(entry) if form is Form.JSON else ocsf.event(entry, key.name)
                    out.write(msgspec.json.encode(value) + b"\n")
                    count += 1
        except FileExistsError:
            raise Refused("That file is there already.") from None
        except OSError:
            raise Refused("That file cannot be written.") from None
    if as_json:
        show_json({"entries": count, "file": str(file)})
    else:
        people.print(f"{count:,} entries are in {file}.")


@app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="The log or a copy of it. [default: the state's]")] = None,
    key: Annotated[
        str | None, typer.Option(help="The public key: NAME+HASH+KEY, or a file with it. Keep it elsewhere.")
    ] = None,
    held: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint that you kept: finds a log that was rolled back or replaced."),
    ] = None,
    copy: Annotated[list[Path] | None, typer.Option(help="A folder with a copy: is checked, and must agree.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Compute everything again from files and public key. Exits 0 if sound, 1 if tampered with, 78 if not there."""
    with spoken(as_json):
        settings = load(state)
        place = folder or settings.layout.audit
        public, beside = _public_key(key, place, settings, own=folder is None)
        notes = [_bytes_of(path) for path in held or []]
        copies = copy or []
        notes += [_bytes_of(path / CHECKPOINT) for path in copies]
        try:
            reports = {str(place): verifying.verify(place, public, notes)}
            reports |= {str(path): verifying.verify(path, public) for path in copies}
        except OSError as error:
            raise Misconfigured(
                Problem(f"{place} cannot be read: {error.strerror}", "Run this as the user that Freehold runs as.")
            ) from None
    sound = all(report.sound for report in reports.values())
    if as_json:
        show_json({"sound": sound, "key_from_beside_the_log": beside, "logs": reports})
    else:
        _show_reports(reports, beside)
    sys.exit(0 if sound else 1)


@app.command("prove")
def prove_entry(
    entry: Annotated[int, typer.Argument(min=0, help="The entry's number.")],
    out: Annotated[Path | None, typer.Option(help="Write the proof (C2SP tlog-proof) to a file.")] = None,
    since: Annotated[Path | None, typer.Option(help="Prove also that the log only grew since this checkpoint.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Prove that an entry is in the log; whoever has the public key can check it without the log."""
    with spoken(as_json):
        folder, key = _log(load(state))
        snapshot = Snapshot(folder, key)
        proof = prove(snapshot, entry)
        growth = None
        if since is not None:
            try:
                growth = prove_growth(snapshot, key.open(_bytes_of(since)))
            except ValueError:
                raise Refused("That file is not a checkpoint of this log.") from None
        if out is not None:
            out.write_text(proof.text())
    if as_json:
        show_json({**proof.as_json(), **({"growth": growth.as_json()} if growth is not None else {})})
    else:
        print(proof.text(), end="")


@app.command("check")
def check_proof(
    proof: Annotated[Path, typer.Argument(help="A proof file.")],
    key: Annotated[str, typer.Option(help="The public key: NAME+HASH+KEY, or a file with it.")],
    as_json: AsJson = False,
) -> None:
    """Check a proof with the public key alone. Exits 0 if it holds, 1 if not."""
    with spoken(as_json):
        try:
            found = check(proof.read_text("utf-8"), _parse_key(key))
        except (OSError, ValueError):
            raise Refused("The proof does not hold.") from None
    if as_json:
        show_json({"holds": True, "size": found.size, "entry": as_json_of(decode(found.entry))})
    else:
        people.print(f"[green]✓[/] Entry {found.index} is in the log of {found.size:,} entries:", soft_wrap=True)
        _show(decode(found.entry), False)


@app.command()
def checkpoint(state: State = None, as_json: AsJson = False) -> None:
    """The newest checkpoint, to be kept elsewhere, and the public key."""
    with spoken(as_json):
        folder, key = _log(load(state))
        found = Snapshot(folder, key).checkpoint
        if found is None:
            raise Refused("No checkpoint was published yet. One is every few seconds.", status=409)
    if as_json:
        value = {"size": found.size, "root": found.root.hex(), "checkpoint": found.note.decode(), "key": str(key)}
        show_json(value)
    else:
        print(found.note.decode(), end="")
        people.print(f"The public key: {key}", soft_wrap=True)


@app.command("prune")
def prune_entries(
    before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Ask to remove what is older. [default: audit.keep_days]")
    ] = None,
    confirm: Annotated[str | None, typer.Option(metavar="REQUEST", help="Confirm what another person asked.")] = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Remove the oldest entries; their hashes stay, and every proof. One person asks, another confirms."""
    with spoken(as_json):
        settings = load(state)
        folder, public = _log(settings)
        key = signer(settings.layout)
        if confirm is not None:
            value = _confirmed(settings, folder, key, confirm)
        else:
            value = _asked(settings, Snapshot(folder, public), key, _time(before))
    if as_json:
        show_json(value)
    elif confirm is not None:
        people.print(f"Removed the entries before {value['end']:,}.")
    else:
        people.print(f"Entries before {value['end']:,} would be removed. Another person confirms within a day with:")
        print(f"freehold audit prune --confirm {value['request']}")


def _asked(settings: Settings, snapshot: Snapshot, key: Signer, before: float | None) -> dict[str, Any]:
    days = settings.audit.keep_days
    if before is None and not days:
        raise Refused("Say --before TIME, or set audit.keep_days.")
    if days and before is not None and before > time.time() - days * 86400:
        raise Refused("audit.keep_days says that entries of that time stay.", status=403)
    limit = before if before is not None else time.time() - days * 86400
    text, event = prune.ask(snapshot, key, limit, prune.Person(uid=login_user()))
    _record(settings, event)
    return {"request": text, "end": event.end}


def _confirmed(settings: Settings, folder: Path, key: Signer, text: str) -> dict[str, Any]:
    request, event = prune.confirm(text, key, prune.Person(uid=login_user()))
    _record(settings, event)
    removed = prune.remove(folder, request.end)

    async def forget() -> None:
        async with Database(settings.database_url) as database, database.write() as connection:
            await audit.forget(connection, request.end)

    if settings.database or (settings.state / "freehold.db").is_file():
        asyncio.run(forget())
    return {"end": request.end, "bundles": removed}


def as_json_of(entry: Entry) -> dict[str, Any]:
    """An entry with its time also for people."""
    return {**as_json(entry), "time": datetime.fromtimestamp(entry.at / 1000, UTC).isoformat(timespec="milliseconds")}


def _record(settings: Settings, event: Event) -> None:
    async def work() -> None:
        async with AuditLog.of(settings.layout) as log:
            await log.record(event)

    asyncio.run(work())


def _log(settings: Settings) -> tuple[Path, Verifier]:
    """The state's log and its public key, as they lie there. Raises Misconfigured where there is none."""
    folder = settings.layout.audit
    return folder, _public_key(None, folder, settings, own=True)[0]


def _public_key(given: str | None, folder: Path, settings: Settings, *, own: bool) -> tuple[Verifier, bool]:
    """The key to check by, and whether it comes from beside the log, where who changes the one can change the other."""
    if given is not None:
        return _parse_key(given), False
    secret = settings.layout.keys / "audit-sign.key"
    try:
        if own and secret.exists():
            return Signer(secret.read_bytes()).verifier, False
        return Verifier.parse((folder / VERIFIER).read_text("utf-8")), True
    except (OSError, ValueError):
        raise Misconfigured(
            Problem(f"there is no audit log with a public key in {folder}", "Name the folder, and the key with --key.")
        ) from None


def _parse_key(given: str) -> Verifier:
    try:
        return Verifier.parse(Path(given).read_text("utf-8") if Path(given).is_file() else given)
    except (OSError, ValueError):
        raise Misconfigured(
            Problem("that is not a public key", "It is one line NAME+HASH+KEY; 'freehold audit checkpoint' shows it.")
        ) from None


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        raise Misconfigured(Problem(f"there is no checkpoint in {path}", "Name a file that holds one.")) from None


def _need_database(settings: Settings) -> None:
    if not settings.database and not (settings.state / "freehold.db").is_file():
        raise Misconfigured(Problem("there is no database to search in", "'freehold audit export' needs none."))


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Refused("A time is written like 2026-01-31 or 2026-01-31T12:00.") from None
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def _between(snapshot: Snapshot, begin: float, end: float) -> Iterator[Entry]:
    for _, entry in snapshot.entries():
        found = decode(entry)
        if begin * 1000 <= found.at < end * 1000:
            yield found


def _row(entry: Entry) -> list[str]:
    skip = ("sequence", "at", "action")
    what = " ".join(f"{name}={value}" for name, value in as_json(entry).items() if name not in skip)
    when = datetime.fromtimestamp(entry.at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return [str(entry.sequence), when, entry.action.value, what]


def _show(entry: Entry, as_json: bool) -> None:
    if as_json:
        show_json(as_json_of(entry))
    else:
        people.print("  ".join(_row(entry)), soft_wrap=True, markup=False)


def _show_reports(reports: dict[str, verifying.Report], beside: bool) -> None:
    for place, report in reports.items():
        if report.sound:
            pruned = f", the first {report.pruned:,} pruned" if report.pruned else ""
            words = f"{report.size:,} entries{pruned}, {report.checkpoint:,} under the checkpoint, {report.seconds} s"
            people.print(f"[green]✓ sound[/] {place}: {words}", soft_wrap=True)
            continue
        people.print(f"[red]✗ NOT sound[/] {place}", soft_wrap=True)
        for fault in report.faults:
            at = f" (entry {fault.entry})" if fault.entry is not None else ""
            people.print(f"  {fault.where}: {fault.what}{at}", soft_wrap=True, markup=False)
    if beside:
        people.print("The public key lay beside the log. Give the one that you kept with --key.")
