"""Runs the copies of `audit.copies`, each by itself beside the log: one process of an installation opens it.

A place that is away is tried again every few seconds from where it stopped. `freehold.toml` names places like
`/mnt/other/audit`, `s3://BUCKET/PREFIX?endpoint=https://HOST&region=REGION&key=NAME`, `syslog+tls://HOST:6514`,
`syslog+tcp://HOST:601` and `syslog+unix:///run/collector.sock`; a bucket's `ACCESS:SECRET` is the file keys/NAME.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from freehold.audit.bucket import BucketStore
from freehold.audit.copies import Copier, FolderStore
from freehold.audit.events import Action, Event, Kind, Outcome, Reason
from freehold.audit.log import AuditLog
from freehold.audit.note import Verifier
from freehold.audit.syslog import SyslogCopier
from freehold.protocol.background import during
from freehold.protocol.errors import Misconfigured, Problem, Unavailable
from freehold.settings import Settings

SECONDS = 4.0
"""Between two looks at the published checkpoint: with its own five, a copy is at most ten seconds behind."""


class Stepping(Protocol):
    """What keeps one copy."""

    def step(self) -> bool:
        """Copy some of what is new; True when there is more."""


class Copy:
    """One copy and how it is: `behind` is the last thing that went wrong, "" when nothing did."""

    def __init__(self, name: str, copier: Stepping) -> None:
        self.name = name
        self.behind = ""
        self._copier = copier

    async def run(self) -> None:
        """Follow the log for ever."""
        while True:
            more = False
            try:
                more = await asyncio.to_thread(self._copier.step)
                self.behind = ""
            except (OSError, Unavailable) as error:
                self.behind = type(error).__name__
            if not more:
                await asyncio.sleep(SECONDS)


@contextlib.asynccontextmanager
async def copying(settings: Settings, key: Verifier, log: AuditLog) -> AsyncIterator[list[Copy]]:
    """Keep the copies as long as the block runs. Raises Misconfigured when one is not a place."""
    copies = [copy_of(settings, key, place, log.note) for place in settings.audit.copies]
    async with contextlib.AsyncExitStack() as stack:
        for copy in copies:
            await stack.enter_async_context(during(copy.run()))
        yield copies


def copy_of(settings: Settings, key: Verifier, place: str, note: Callable[[Event], None]) -> Copy:
    """The copy that a setting names. Raises Misconfigured."""
    folder, url = settings.layout.audit, urlsplit(place)

    def alarm(kind: Kind) -> Callable[[], None]:
        event = Event(action=Action.AUDIT_COPY_REFUSED, outcome=Outcome.REFUSED, reason=Reason.AUDIT, kind=kind)
        return lambda: note(event)

    if place.startswith("/"):
        return Copy(place, Copier(folder, key, FolderStore(Path(place)), alarm(Kind.FOLDER)))
    if (url.scheme in ("syslog+tcp", "syslog+tls") and url.hostname) or (url.scheme == "syslog+unix" and url.path):
        return Copy(place, SyslogCopier(folder, key, url))
    if url.scheme == "s3" and url.hostname:
        return Copy(place, Copier(folder, key, _bucket(settings, place), alarm(Kind.BUCKET)))
    raise _no_place("audit.copies names something that is no place", "docs/audit.md shows what it may be.")


def _bucket(settings: Settings, place: str) -> BucketStore:
    url = urlsplit(place)
    options = {name: values[0] for name, values in parse_qs(url.query).items()}
    endpoint, name = urlsplit(options.get("endpoint", "")), options.get("key", "")
    local = endpoint.hostname in ("localhost", "127.0.0.1", "::1")
    if not endpoint.hostname or (endpoint.scheme != "https" and not (local and endpoint.scheme == "http")):
        raise _no_place("a bucket in audit.copies has no https endpoint", "Add ?endpoint=https://HOST.")
    try:
        access, _, secret = (settings.layout.keys / Path(name).name).read_text().strip().partition(":")
    except (OSError, UnicodeDecodeError):
        access = secret = ""
    if not access or not secret:
        raise _no_place(
            "a bucket in audit.copies has no key", "Put ACCESS:SECRET into a file keys/NAME, add &key=NAME."
        )
    region = options.get("region", "us-east-1")
    return BucketStore(options["endpoint"], region, url.hostname or "", url.path, access, secret)


def _no_place(what: str, remedy: str) -> Misconfigured:
    return Misconfigured(Problem(what, remedy))
