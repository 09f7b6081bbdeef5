"""The promise that nothing leaves, checked as its owner checks it; and that the check can fail."""

import json

import pytest

from tests.stack.conftest import Stack

pytestmark = pytest.mark.stack


def test_the_live_runner_is_sealed(stack: Stack) -> None:
    done = stack.freehold("doctor", "--seal", "--json")
    report = json.loads(done.stdout)
    (runner,) = report["runners"].values()
    assert [probe for probe in runner["probes"] if not probe["held"]] == []
    assert (done.returncode, report["sealed"]) == (0, True)
    assert len(runner["probes"]) > 50


def test_the_process_driver_is_not(fresh: Stack) -> None:
    done = fresh.freehold(
        "up", "--detach", "--engine", "tiny", "--port", str(fresh.port), "--driver", "process", timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "does not seal" in done.stderr
    done = fresh.freehold("doctor", "--seal", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["sealed"]) == (1, False)
    (runner,) = report["runners"].values()
    assert len([probe for probe in runner["probes"] if not probe["held"]]) > 5
    assert fresh.freehold("doctor", "--seal").returncode == 1


def test_doctor_finds_a_healthy_installation_healthy(stack: Stack) -> None:
    done = stack.freehold("doctor", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["ok"]) == (0, True), report
