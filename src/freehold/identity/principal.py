"""The principal: who is asking. Made by `Directory` from a credential; every door to data takes one."""

from typing import Literal

import msgspec

from freehold.storage.conversations import Owner


class Principal(msgspec.Struct, frozen=True):
    """`user_id` is None for a key that belongs to the workspace and to no person."""

    credential_id: str
    workspace_id: str
    user_id: str | None
    kind: Literal["key", "session"]
    role: str

    @property
    def owner(self) -> Owner:
        """Whose conversations this principal reads: its own. A key without a person has none."""
        return Owner(self.workspace_id, self.user_id or "")
