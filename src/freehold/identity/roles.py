"""Who may do what: the one table of roles and permissions, and the ladder on which one role stands above another.

The console declares each route with a permission from here, the gateway demands `chat`; tests generate every cell of
roles × routes from this table. Owner, admin, reviewer and member are a ladder. An auditor stands beside it: it reads
the audit log and no content, and no group makes it more; nor does any group make a service more than a service.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from freehold.protocol.errors import Refused
from freehold.storage.users import Role

Permission = Literal[
    "account",  # one's own account: password, factors, sessions
    "chat",  # exchanges, and one's own conversations
    "keys:own",  # API keys that act as oneself
    "answers:review",
    "people:read",  # people, groups, services, invitations
    "people:write",
    "keys:all",  # everybody's keys, and those of services
    "limits:read",
    "limits:write",
    "audit:read",
    "providers:write",  # sign-in providers and SCIM
    "workspace:write",  # what the workspace itself is: engines, domain, policies
]

_MEMBER: frozenset[Permission] = frozenset({"account", "chat", "keys:own"})
_REVIEWER: frozenset[Permission] = _MEMBER | {"answers:review"}
_ADMIN: frozenset[Permission] = _REVIEWER | {
    "people:read",
    "people:write",
    "keys:all",
    "limits:read",
    "limits:write",
    "audit:read",
    "providers:write",
}
_OWNER: frozenset[Permission] = _ADMIN | {"workspace:write"}

GRANTED: dict[Role, frozenset[Permission]] = {
    "owner": _OWNER,
    "admin": _ADMIN,
    "reviewer": _REVIEWER,
    "member": _MEMBER,
    "auditor": frozenset({"account", "audit:read"}),
    "service": frozenset({"chat"}),
}
"""What each role may do. What is not here nobody may."""

_LADDER: tuple[Role, ...] = ("member", "reviewer", "admin", "owner")
_HEIGHT: dict[str, int] = {"service": 0, **{role: height for height, role in enumerate(_LADDER)}, "auditor": 2}
"""Who may give a role or act on its holder: those at least as high. An auditor is given by admins and above."""

PERSONAL: tuple[Role, ...] = tuple(role for role in get_args(Role) if role != "service")
"""The roles that a person can have by themselves."""

OF_GROUPS: tuple[Role, ...] = ("member", "reviewer", "admin")
"""The roles that a group can give."""


def permits(role: str, permission: Permission) -> bool:
    """Whether this role may do that. An unknown role may do nothing."""
    return permission in GRANTED.get(role, frozenset())  # type: ignore[call-overload]


def effective(own: str, given: Iterable[str | None] = ()) -> str:
    """What a user is with the roles that their groups give: the highest on the ladder.

    An auditor and a service stay what they are, and a group's role counts only if a group can give it.
    """
    if own not in _LADDER:
        return own
    raised = [role for role in given if role in OF_GROUPS]
    return max([own, *raised], key=lambda role: _HEIGHT[role])


def may_act_on(actor: str, target: str) -> bool:
    """Whether one of role `actor` may give the role `target` or change somebody who has it. Both are effective ones."""
    return permits(actor, "people:write") and _HEIGHT[actor] >= _HEIGHT.get(target, len(_LADDER))


def demand(actor: str, target: str) -> None:
    """Raise Refused 403 unless `may_act_on`."""
    if not may_act_on(actor, target):
        raise Refused("Nobody gives or changes a role above their own.", status=403, code="role_above")


def personal(role: str) -> Role:
    """`role` if a person can have it. Raises Refused."""
    for known in PERSONAL:
        if role == known:
            return known
    raise Refused("A person's role is owner, admin, reviewer, member or auditor.", param="role", code="role_invalid")


def of_group(role: str | None) -> Role | None:
    """`role` if a group can give it, None for a group that gives none. Raises Refused."""
    if role is None:
        return None
    for known in OF_GROUPS:
        if role == known:
            return known
    raise Refused("A group gives the role member, reviewer, admin or none.", param="role", code="role_invalid")
