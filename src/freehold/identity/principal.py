"""The principal: who is asking. Made by `Directory` from a credential; every door to data takes one."""

from typing import Literal

import msgspec

from freehold.protocol.errors import Refused
from freehold.storage.conversations import Owner

Scope = Literal["chat", "embeddings", "models", "responses", "admin"]
"""What a credential may be used for, when it is not for everything."""


class Principal(msgspec.Struct, frozen=True):
    """`user_id` is None for a key that belongs to the workspace and to no person.

    `role` is the effective one, group roles included. Empty `scopes` and `assistants` mean: all.
    """

    credential_id: str
    workspace_id: str
    user_id: str | None
    kind: Literal["key", "session", "token"]
    role: str
    groups: tuple[str, ...] = ()
    scopes: frozenset[str] = frozenset()
    assistants: frozenset[str] = frozenset()

    @property
    def owner(self) -> Owner:
        """Whose conversations this principal reads: its own. A key without a person has none."""
        return Owner(self.workspace_id, self.user_id or "")

    @property
    def holder(self) -> str:
        """Who is behind the credential: the person, or the key itself where there is none."""
        return self.user_id or self.credential_id

    def demand(self, scope: Scope) -> None:
        """Raise Refused 403 when the credential is not for this."""
        if self.scopes and scope not in self.scopes:
            raise Refused("This API key is not for this use.", status=403, code="scope_missing")

    def may_use(self, assistant: str) -> bool:
        """Whether the credential is for this assistant."""
        return not self.assistants or assistant in self.assistants
