"""The command line: one file per command group, wiring only. Entry point `freehold` (see pyproject)."""

from freehold.cli.app import main

__all__ = ["main"]
