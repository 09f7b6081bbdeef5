"""What the running instance says of itself: `freehold status` and `freehold doctor --seal`."""

import os
import time
from typing import Any

import msgspec

from freehold.audit.events import Action, By, Event, Id, Outcome
from freehold.audit.log import AuditLog
from freehold.gateway import load
from freehold.isolation.observe import observe
from freehold.protocol.errors import FreeholdError
from freehold.protocol.http import PeerGone
from freehold.protocol.seal import Probe, SealReport
from freehold.settings import Settings
from freehold.supervisor.children import Child
from freehold.supervisor.edges import Edges, public_url
from freehold.supervisor.memory import descendants, memory_of
from freehold.supervisor.runners import Runner, Runners


class Report:
    """Gathers facts on demand; holds none."""

    def __init__(
        self,
        settings: Settings,
        children: list[Child],
        edges: Edges,
        runners: Runners,
        ca_file: str | None,
        log: AuditLog,
    ) -> None:
        self._settings = settings
        self._children = children
        self._edges = edges
        self._runners = runners
        self._ca_file = ca_file
        self._log = log
        self._began = time.monotonic()
        self.pid = os.getpid()

    async def status(self) -> dict[str, Any]:
        """Address, processes with their memory, runners with their load."""
        await self._runners.ask_all()
        rows = [self._row("supervisor", [self.pid], 0, self._began)]
        for child in self._children + self._edges.children:
            pids = [child.pid] if child.pid else []
            rows.append(self._row(child.name, pids, child.restarts, child.started_at))
        runners = []
        for runner, restarts in self._runners.all():
            health = runner.health
            row = self._row(f"runner {runner.name}", descendants(runner.box.pid), restarts, runner.started_at)
            row["weights_bytes"] += health.copied_weights if health else 0
            rows.append(row)
            runners.append(
                {
                    "name": runner.name,
                    "workspace": runner.workspace_id,
                    "state": "ready" if runner.ready else "loading" if runner.box.alive else "dead",
                    "in_flight": health.in_flight if health else 0,
                    "slots": runner.slots,
                    "engines": msgspec.to_builtins(health.engines) if health else [],
                }
            )
        weights = sum(row["weights_bytes"] for row in rows)
        return {
            "state": "ready" if runners and all(r["state"] == "ready" for r in runners) else "degraded",
            "url": public_url(self._settings),
            "ca_file": self._ca_file,
            "driver": self._settings.runner.driver,
            "pid": self.pid,
            "processes": rows,
            "runners": runners,
            "lines": msgspec.to_builtins(load.read(self._settings.layout.run)),
            "memory": {
                "stack_bytes": sum(row["resident_bytes"] for row in rows) - weights,
                "weights_bytes": weights,
            },
        }

    async def seal(self) -> dict[str, Any]:
        """Each live runner's attacks on its own box, and what the kernel says of it from outside."""
        reports = {}
        for runner, _ in self._runners.all():
            try:
                inside = await self._runners.attack(runner)
            except (PeerGone, TimeoutError, FreeholdError, msgspec.DecodeError):
                inside = (Probe("the runner answers", False, "it did not report"),)
            report = SealReport((*inside, *observe(runner.box.pid, runner.log)))
            self._log.note(_probed(runner, report))
            reports[runner.name] = {"holds": report.holds, "probes": msgspec.to_builtins(report.probes)}
        return reports

    def _row(self, name: str, pids: list[int], restarts: int, began: float) -> dict[str, Any]:
        held = [memory_of(pid, self._settings.layout.models) for pid in pids]
        return {
            "name": name,
            "pid": pids[-1] if pids else None,
            "resident_bytes": sum(m.resident for m in held),
            "weights_bytes": sum(m.weights for m in held),
            "restarts": restarts,
            "up_seconds": round(time.monotonic() - began, 1),
        }


def _probed(runner: Runner, report: SealReport) -> Event:
    return Event(
        action=Action.SEAL_PROBE,
        workspace=Id(runner.workspace_id),
        runner=Id(runner.name),
        by=By.COMMAND,
        outcome=Outcome.DONE if report.holds else Outcome.FAILED,
        count=len(report.probes),
        failures=sum(not probe.held for probe in report.probes),
    )
