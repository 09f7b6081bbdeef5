"""`freehold doctor`: what is wrong on this machine, and with `--seal` whether the live runners can get out."""

import asyncio
import sys
from typing import Annotated, Any

import typer

from freehold.cli.output import AsJson, State, people, show_json, spoken
from freehold.settings import load
from freehold.supervisor import control
from freehold.supervisor.diagnosis import Finding, examine
from freehold.supervisor.instance import read_instance


def doctor(
    seal: Annotated[bool, typer.Option("--seal", help="Attack each live runner from inside its box.")] = False,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Check this installation. Exits 1 when something is wrong, 3 when --seal finds nothing running."""
    with spoken(as_json):
        settings = load(state)
        if seal:
            reports: Any = asyncio.run(control.ask(settings.layout.control_socket, "seal"))
            _show_seal(reports, as_json)
            return
        findings = asyncio.run(examine(settings, running=read_instance(settings.layout) is not None))
    _show(findings, as_json)


def _show(findings: list[Finding], as_json: bool) -> None:
    sound = all(finding.ok for finding in findings)
    if as_json:
        show_json({"ok": sound, "findings": findings})
    else:
        for finding in findings:
            people.print(
                f"{'[green]✓[/]' if finding.ok else '[red]✗[/]'} {finding.name}: {finding.detail}", soft_wrap=True
            )
            if finding.remedy:
                people.print(f"    {finding.remedy}", soft_wrap=True)
    sys.exit(0 if sound else 1)


def _show_seal(reports: dict[str, dict[str, Any]], as_json: bool) -> None:
    sealed = bool(reports) and all(report["holds"] for report in reports.values())
    if as_json:
        show_json({"sealed": sealed, "runners": reports})
    else:
        for name, report in reports.items():
            held = [probe for probe in report["probes"] if probe["held"]]
            people.print(f"[bold]{name}[/]: {len(held)} of {len(report['probes'])} ways out are closed")
            for probe in report["probes"]:
                if not probe["held"]:
                    people.print(f"  [red]✗ open[/] {probe['name']}: {probe['detail']}", soft_wrap=True)
        if not reports:
            people.print("No runner is alive.")
        people.print("[green]✓ Sealed.[/]" if sealed else "[red]✗ NOT sealed.[/]")
    sys.exit(0 if sealed else 1)
