"""Which limits apply to an exchange: what administrators set, from memory, for each of its subjects."""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.admission.limits import Kind, LimitSet, Subject
from freehold.gateway.book import Book
from freehold.identity.principal import Principal
from freehold.storage import limits
from freehold.storage.changes import Topic
from freehold.storage.engine import Database

_MOST_FOUND = 10_000

EACH = "*"
"""The subject that stands for each of its kind, unless one has limits of its own."""


class LimitBook(Book):
    """Limits by workspace, kind and subject."""

    topic: Topic = "limit"

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._sets: dict[str, dict[tuple[str, str], LimitSet]] = {}
        self._found: dict[tuple[str, tuple[str, ...], str, str], tuple[Subject, ...]] = {}

    async def read(self, connection: AsyncConnection) -> None:
        """Read all limits."""
        book: dict[str, dict[tuple[str, str], LimitSet]] = {}
        for limit in await limits.everywhere(connection):
            found = msgspec.json.decode(limit.bounds, type=LimitSet)
            book.setdefault(limit.workspace_id, {})[(limit.kind, limit.subject)] = found
        self._sets = book
        self._found = {}

    def subjects(self, principal: Principal, assistant: str, address: str) -> tuple[Subject, ...]:
        """Everyone whose limits an exchange of this principal counts against."""
        sets = self._sets.get(principal.workspace_id)
        if not sets:
            return ()
        asked = principal.credential_id, principal.groups, assistant, address
        found = self._found.get(asked)
        if found is None:
            if len(self._found) >= _MOST_FOUND:
                self._found.clear()
            found = self._found[asked] = self._find(sets, principal, assistant, address)
        return found

    def _find(
        self, sets: dict[tuple[str, str], LimitSet], principal: Principal, assistant: str, address: str
    ) -> tuple[Subject, ...]:
        asked: list[tuple[Kind, str]] = [
            ("workspace", principal.workspace_id),
            *(("group", group) for group in principal.groups),
            ("key", principal.credential_id),
            ("assistant", assistant),
            ("address", address),
        ]
        if principal.user_id is not None:
            asked.append(("user", principal.user_id))
        found: list[Subject] = []
        for kind, name in asked:
            limits_of = sets.get((kind, name)) or sets.get((kind, EACH))
            if limits_of is not None:
                found.append(Subject(kind, name, limits_of))
        return tuple(found)
