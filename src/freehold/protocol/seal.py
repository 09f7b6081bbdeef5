"""What a seal check reports: the words between a runner that attacks its own box and whoever reads the result.

`runner.seal` makes the report from inside; `isolation` asks for it at each spawn, `freehold doctor --seal` on demand.
"""

import msgspec


class Probe(msgspec.Struct, frozen=True):
    """One attempt to get out. `held` is True when the box refused it; `detail` names the refusal (an errno, a fact)."""

    name: str
    held: bool
    detail: str


class SealReport(msgspec.Struct, frozen=True):
    """All attempts of one run, from one runner. `policy` is the SHA-256 of the syscall filter that was asked for."""

    probes: tuple[Probe, ...]

    @property
    def holds(self) -> bool:
        """True when every attempt was refused (and there was at least one)."""
        return bool(self.probes) and all(probe.held for probe in self.probes)
