"""The `freehold` command: gathers the groups. The modules below are thin; what they do lives in the rooms they call."""

import typer

from freehold import __version__
from freehold.cli import (
    audit,
    doctor,
    engine,
    group,
    guard,
    instance,
    key,
    limit,
    model,
    provider,
    scim,
    service,
    up,
    user,
    workspace,
)

app = typer.Typer(
    name="freehold",
    help="Your own AI: a private chat page and an OpenAI-compatible API, every model sealed from the network.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("down")(instance.down)
app.command("status")(instance.status)
app.command("logs")(instance.logs)
app.command("claim")(instance.claim)
app.command("doctor")(doctor.doctor)
app.add_typer(user.app, name="user")
app.add_typer(group.app, name="group")
app.add_typer(service.app, name="service")
app.add_typer(provider.app, name="provider")
app.add_typer(scim.app, name="scim")
app.add_typer(key.app, name="key")
app.add_typer(model.app, name="model")
app.add_typer(engine.app, name="engine")
app.add_typer(workspace.app, name="workspace")
app.add_typer(limit.app, name="limit")
app.add_typer(guard.app, name="guard")
app.add_typer(audit.app, name="audit")


def _version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()
