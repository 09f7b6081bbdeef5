"""`freehold model list|add|remove`: the models of this machine and which of them the workspace offers."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.cli.output import AsJson, State, errors, people, show_json, show_table, size, spoken
from freehold.cli.work import on_database
from freehold.models import catalogue
from freehold.models.catalogue import Model
from freehold.models.fetch import NoSource
from freehold.models.store import ModelStore
from freehold.protocol.errors import Misconfigured, Problem
from freehold.settings import Settings, load
from freehold.storage import engines

app = typer.Typer(help="Models that run on this machine.", no_args_is_help=True)


@app.command("list")
def listing(state: State = None, as_json: AsJson = False) -> None:
    """What the catalogue offers, what is here, and what the workspace serves."""
    with spoken(as_json):
        settings = load(state)
        store = ModelStore(settings.layout.models)

        async def served() -> dict[str, bool]:
            if not (settings.state / "freehold.db").is_file():
                return {}
            async with on_database(settings) as (database, workspace), database.read() as connection:
                return {e.model: e.is_default for e in await engines.listed(connection, workspace.id)}

        offered = asyncio.run(served())
        known = {model.name: model for model in (*catalogue.CATALOGUE, *store.models())}
        rows = [
            {
                "name": model.name,
                "alias": model.alias,
                "kind": model.kind,
                "bytes": model.bytes,
                "licence": model.licence,
                "here": store.has(model),
                "served": model.name in offered,
                "default": offered.get(model.name, False),
            }
            for model in known.values()
        ]
    if as_json:
        show_json(rows)
        return
    show_table(
        "Models",
        ["name", "alias", "kind", "size", "licence", "here", "served"],
        [
            [
                str(r["name"]),
                str(r["alias"]),
                str(r["kind"]),
                size(model.bytes),
                model.licence,
                "yes" if r["here"] else "–",
                "default" if r["default"] else "yes" if r["served"] else "–",
            ]
            for r, model in zip(rows, known.values(), strict=True)
        ],
    )


@app.command()
def add(
    source: Annotated[str, typer.Argument(help="A name of the catalogue, a GGUF file, or an https address of one.")],
    sha256: Annotated[str | None, typer.Option("--sha256", help="The file's SHA-256, from its publisher.")] = None,
    name: Annotated[str | None, typer.Option(help="What clients call it. [default: from the file's name]")] = None,
    default: Annotated[bool, typer.Option("--default", help="Answer with it when nothing else is asked for.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Bring a model into the store, checked by its hash, and offer it in the workspace (also while Freehold runs)."""
    with spoken(as_json):
        settings = load(state)
        added = asyncio.run(_add(settings, source, sha256, name, default, as_json))
    if as_json:
        show_json({"name": added.name, "bytes": added.bytes, "sha256": [file.sha256 for file in added.files]})
    else:
        people.print(f"{added.name} is here and offered; a running Freehold loads it now.")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="As 'freehold model list' shows it.")],
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Stop offering a model and delete its files."""
    with spoken(as_json):
        settings = load(state)
        store = ModelStore(settings.layout.models)
        model = store.resolve(name)

        async def work() -> None:
            async with on_database(settings) as (database, workspace), written(database) as (connection, tell):
                for engine in await engines.listed(connection, workspace.id):
                    if engine.model == model.name:
                        await engines.remove(connection, workspace.id, engine.name)
                tell(Action.MODEL_REMOVE, digest=model.files[0].sha256)

        asyncio.run(work())
        freed = store.remove(name)
    if as_json:
        show_json({"removed": model.name, "freed_bytes": freed})
    else:
        people.print(f"{model.name} is removed; {size(freed)} are free again.")


async def _add(
    settings: Settings, source: str, sha256: str | None, name: str | None, default: bool, as_json: bool
) -> Model:
    store = ModelStore(settings.layout.models)
    async with on_database(settings) as (database, workspace):
        with _bar(as_json) as bar:
            task = bar.add_task("getting the model", total=None)

            def tell(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            try:
                if model := catalogue.find(source):
                    await store.ensure(model, progress=tell)
                else:
                    model = await store.add(_origin(source), _needed(sha256), name=name, progress=tell)
            except NoSource as missing:
                raise Misconfigured(
                    Problem(str(missing), "Try again with a network, or add the file itself: freehold model add FILE.")
                ) from None
        async with written(database) as (connection, told):
            present = {engine.name for engine in await engines.listed(connection, workspace.id)}
            if model.name not in present:
                kind: engines.EngineKind = "embedder" if model.kind == "embedding" else "llamacpp"
                await engines.add(
                    connection, workspace.id, name=model.name, kind=kind, model=model.name, default=default
                )
            elif default:
                await engines.make_default(connection, workspace.id, model.name)
            told(Action.MODEL_INSTALL, digest=model.files[0].sha256)
    return model


def _origin(source: str) -> Path | str:
    if source.startswith(("https://", "http://")):
        return source
    path = Path(source)
    if not path.is_file():
        names = ", ".join(model.alias for model in catalogue.CATALOGUE if model.alias)
        raise Misconfigured(
            Problem(
                f"{source} is neither a model of the catalogue nor a file",
                f"Choose one of {names}, or give a GGUF file or its https address.",
            )
        )
    return path


def _needed(sha256: str | None) -> str:
    if sha256 is None:
        raise Misconfigured(
            Problem("a file from outside the catalogue needs its hash", "Add --sha256 with the publisher's figure.")
        )
    return sha256


def _bar(as_json: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=errors,
        transient=True,
        disable=as_json or not errors.is_terminal,
    )
