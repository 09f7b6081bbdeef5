"""`freehold guard policy|pattern|values|test`: what is looked for in texts, and what is done where it is found."""

import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from freehold.cli.output import AsJson, State, Workspace, people, show_json, show_table, spoken
from freehold.cli.work import run
from freehold.guard import book, fingerprint
from freehold.guard import policy as policies
from freehold.guard.detector import KINDS
from freehold.guard.passage import Outcome
from freehold.protocol.errors import Refused
from freehold.settings import Settings
from freehold.storage import guard as stored
from freehold.storage import workspaces
from freehold.storage.engine import Database

app = typer.Typer(help="The guard: sensitive data in prompts, answers and logs.", no_args_is_help=True)
policy_app = typer.Typer(help="What is done with each class in each direction.", no_args_is_help=True)
pattern_app = typer.Typer(help="Your own patterns and word lists.", no_args_is_help=True)
values_app = typer.Typer(help="Registered values, kept as fingerprints only.", no_args_is_help=True)
app.add_typer(policy_app, name="policy")
app.add_typer(pattern_app, name="pattern")
app.add_typer(values_app, name="values")

Direction = StrEnum("Direction", {name: name for name in policies.DIRECTIONS})  # type: ignore[misc]
Class = StrEnum("Class", {name: name for name in KINDS})  # type: ignore[misc]
Action = StrEnum("Action", {name: name for name in policies.ACTIONS})  # type: ignore[misc]
_LARGEST_FILE = 64 << 20


def _change(
    change: Callable[[policies.Policy], policies.Policy], workspace_name: str | None, state: State, as_json: bool
) -> None:
    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> None:
        async with database.write() as connection:
            changed = change(await book.policy_of(connection, workspace.id))
            policies.check(changed)
            await stored.put_policy(connection, workspace.id, msgspec.json.encode(changed).decode())

    run(work, workspace_name, state, as_json)


def _in_force(workspace_name: str | None, state: State, as_json: bool) -> policies.Policy:
    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> policies.Policy:
        async with database.read() as connection:
            return await book.policy_of(connection, workspace.id)

    return run(work, workspace_name, state, as_json)


@policy_app.command("show")
def show(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """The policy in force: what is done, and from which confidence on."""
    found = _in_force(workspace_name, state, as_json)
    rules = {d: {k: found.rule(d, k) for k in KINDS} for d in policies.DIRECTIONS}
    if as_json:
        show_json({"rules": rules, "allowed": found.allowed, "phone_regions": found.phone_regions})
        return
    show_table(
        "Guard policy",
        ["class", *policies.DIRECTIONS],
        [[kind, *(_told(rules[direction][kind]) for direction in policies.DIRECTIONS)] for kind in KINDS],
    )


def _told(rule: policies.Rule) -> str:
    return "·" if rule.action == "allow" else f"{rule.action} ≥{rule.sure:g}"


@policy_app.command("set")
def put(
    direction: Annotated[Direction, typer.Argument(metavar="DIRECTION", help=", ".join(policies.DIRECTIONS))],
    kind: Annotated[Class, typer.Argument(metavar="CLASS", help="As 'freehold guard policy show' lists them.")],
    action: Annotated[Action, typer.Argument(metavar="ACTION", help=", ".join(policies.ACTIONS))],
    sure: Annotated[float, typer.Option(min=0, max=1, help="Leave findings of less confidence alone.")] = 0.7,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Set what is done with a class in a direction."""

    def change(policy: policies.Policy) -> policies.Policy:
        rules: dict[Any, dict[Any, policies.Rule]] = {name: dict(kinds) for name, kinds in policy.rules.items()}
        rules.setdefault(direction.value, {})[kind.value] = msgspec.convert(
            {"action": action.value, "sure": sure}, policies.Rule
        )
        return msgspec.structs.replace(policy, rules=rules)

    _change(change, workspace_name, state, as_json)
    if as_json:
        show_json({"direction": direction.value, "class": kind.value, "action": action.value, "sure": sure})
    else:
        people.print(f"{kind.value} in {direction.value}: {action.value}.")


@policy_app.command()
def allow(text: str, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Never find this text, such as the company's own telephone number."""

    def change(policy: policies.Policy) -> policies.Policy:
        return msgspec.structs.replace(policy, allowed=tuple({*policy.allowed, text}))

    _change(change, workspace_name, state, as_json)
    if as_json:
        show_json({"allowed": text})
    else:
        people.print("Allowed.")


@pattern_app.command()
def add(
    name: Annotated[str, typer.Argument(help="Small letters, digits and _.")],
    pattern: Annotated[str, typer.Argument(help="Such as EMP-\\d{6}; see docs/guard.md.")] = "",
    word: Annotated[list[str] | None, typer.Option(help="A word instead of a pattern; may be given again.")] = None,
    caseless: Annotated[bool, typer.Option("--caseless", help="In any case.")] = False,
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Add a pattern or a word list, in place of one of the same name. Its class is CUSTOM."""
    with spoken(as_json):
        try:
            own = msgspec.convert(
                {"name": name, "pattern": pattern, "words": tuple(word or ()), "caseless": caseless},
                policies.OwnPattern,
            )
        except msgspec.ValidationError:
            raise Refused("The name, the pattern or a word has a wrong form or is too long.") from None

    def change(policy: policies.Policy) -> policies.Policy:
        others = tuple(each for each in policy.patterns if each.name != name)
        if len(others) >= 100:
            raise Refused("There are 100 patterns already.")
        return msgspec.structs.replace(policy, patterns=(*others, own))

    _change(change, workspace_name, state, as_json)
    if as_json:
        show_json(own)
    else:
        people.print(f"{name} is looked for.")


@pattern_app.command("list")
def patterns(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Your own patterns."""
    found = _in_force(workspace_name, state, as_json).patterns
    if as_json:
        show_json(list(found))
        return
    show_table(
        "Own patterns", ["name", "looks for"], [[own.name, own.pattern or ", ".join(own.words)] for own in found]
    )


@pattern_app.command()
def remove(name: str, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Take a pattern away."""

    def change(policy: policies.Policy) -> policies.Policy:
        kept = tuple(own for own in policy.patterns if own.name != name)
        if len(kept) == len(policy.patterns):
            raise Refused("There is no such pattern. 'freehold guard pattern list' shows them.", status=404)
        return msgspec.structs.replace(policy, patterns=kept)

    _change(change, workspace_name, state, as_json)
    if as_json:
        show_json({"removed": name})
    else:
        people.print("Removed.")


@values_app.command("add")
def add_values(
    file: Annotated[Path, typer.Argument(help="A text file with one value a line, or - for standard input.")],
    kind: Annotated[str, typer.Option(help="What they are: name, account, canary …")] = "value",
    label: Annotated[str, typer.Option(help="By which you list and remove them. [default: the file's name]")] = "",
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Register values: what is kept are keyed fingerprints, from which no value can be read."""
    name = (label or file.name)[:100]

    async def work(settings: Settings, database: Database, workspace: workspaces.Workspace) -> tuple[int, int]:
        key = fingerprint.workspace_key(settings.layout.secret(book.SECRET), workspace.id)
        rows, skipped = [], 0
        for line in _read(file).splitlines():
            if not line.strip():
                continue
            try:
                known = fingerprint.register(key, line, kind[:40], name)
            except Refused:
                skipped += 1
                continue
            rows.append(stored.StoredValue(workspace.id, **msgspec.structs.asdict(known)))
        async with database.write() as connection:
            return await stored.add_values(connection, rows), skipped

    added, skipped = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"added": added, "skipped": skipped, "kind": kind, "label": name})
        return
    people.print(f"{added} values are looked for.")
    if skipped:
        people.print(
            f"{skipped} lines were left out: a value has {fingerprint.LEAST} to {fingerprint.MOST} letters and digits."
        )


def _read(file: Path) -> str:
    try:
        text = sys.stdin.read(_LARGEST_FILE) if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise Refused("The file cannot be read as UTF-8 text.", status=404) from None
    return text


@values_app.command("list")
def values(workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """How many values are registered, by label. The values themselves are not kept."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> list[tuple[str, str, int]]:
        async with database.read() as connection:
            return await stored.counted_values(connection, workspace.id)

    found = run(work, workspace_name, state, as_json)
    if as_json:
        show_json([{"kind": kind, "label": label, "count": count} for kind, label, count in found])
    else:
        show_table("Registered values", ["kind", "label", "count"], [[k, n, f"{count:,}"] for k, n, count in found])


@values_app.command("remove")
def remove_values(label: str, workspace_name: Workspace = None, state: State = None, as_json: AsJson = False) -> None:
    """Forget the values of a label."""

    async def work(_: Settings, database: Database, workspace: workspaces.Workspace) -> int:
        async with database.write() as connection:
            removed = await stored.remove_values(connection, workspace.id, label)
        if not removed:
            raise Refused("There are no values of that label. 'freehold guard values list' shows them.", status=404)
        return removed

    count = run(work, workspace_name, state, as_json)
    if as_json:
        show_json({"removed": count})
    else:
        people.print(f"{count} values are forgotten.")


@app.command("test")
def try_text(
    text: Annotated[str, typer.Argument(help="A text, or - for standard input.")],
    direction: Annotated[Direction, typer.Option(help="As what it is judged.")] = Direction.answer,  # type: ignore[attr-defined]
    workspace_name: Workspace = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Show what would happen to a text. Nothing is kept of it."""

    async def work(settings: Settings, database: Database, workspace: workspaces.Workspace) -> Outcome:
        async with database.read() as connection:
            guard = await book.guard_of(connection, workspace.id, settings.layout.secret(book.SECRET))
        way: Any = direction.value
        return guard.text(way, sys.stdin.read(_LARGEST_FILE) if text == "-" else text)

    outcome = run(work, workspace_name, state, as_json)
    if as_json:
        show_json(outcome)
        return
    people.print(outcome.text, markup=False)
    show_table(
        "Found",
        ["from", "to", "class", "by", "confidence"],
        [[str(f.start), str(f.end), f.kind, f.detector, f"{f.confidence:g}"] for f in outcome.findings],
    )
