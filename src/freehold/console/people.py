"""The administrators' routes: people, invitations, groups, service accounts, everybody's keys.

Each answer is about the workspace of who asks; what is another workspace's is answered as what does not exist.
"""

import time

from starlette.responses import Response

from freehold.audit.events import Action
from freehold.console.access import Declared, Visit
from freehold.console.api import key_shown, new_key
from freehold.console.bodies import GroupBody, Invitation, Member, Name, NewKey, PersonChange, read, reply
from freehold.console.premises import Premises
from freehold.identity import groups, invitations, keys, people, roles, services
from freehold.storage import factors, users
from freehold.storage import groups as stored_groups
from freehold.storage.claims import Claim
from freehold.storage.groups import Group
from freehold.storage.users import User


class People:
    """The handlers for administrators."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._database = premises.database

    def routes(self) -> list[Declared]:
        """The routes with what each needs."""
        return [
            Declared("GET", "/api/people", "people:read", self.people),
            Declared("GET", "/api/people/{person}", "people:read", self.person),
            Declared("PATCH", "/api/people/{person}", "people:write", self.change_person, Action.PERSON_CHANGE),
            Declared("DELETE", "/api/people/{person}", "people:write", self.remove_person, Action.PERSON_REMOVE),
            Declared("DELETE", "/api/people/{person}/sessions", "people:write", self.end_sessions, Action.SESSION_END),
            Declared(
                "DELETE", "/api/people/{person}/factors", "people:write", self.reset_factors, Action.FACTOR_REMOVE
            ),
            Declared("GET", "/api/invitations", "people:read", self.invitations),
            Declared("POST", "/api/invitations", "people:write", self.invite, Action.PERSON_INVITE),
            Declared(
                "DELETE",
                "/api/invitations/{invitation}",
                "people:write",
                self.revoke_invitation,
                Action.INVITATION_REVOKE,
            ),
            Declared("GET", "/api/groups", "people:read", self.groups),
            Declared("POST", "/api/groups", "people:write", self.new_group, Action.GROUP_CREATE),
            Declared("PATCH", "/api/groups/{group}", "people:write", self.change_group, Action.GROUP_CHANGE),
            Declared("DELETE", "/api/groups/{group}", "people:write", self.remove_group, Action.GROUP_REMOVE),
            Declared("POST", "/api/groups/{group}/members", "people:write", self.add_member, Action.GROUP_JOIN),
            Declared(
                "DELETE", "/api/groups/{group}/members/{person}", "people:write", self.remove_member, Action.GROUP_LEAVE
            ),
            Declared("GET", "/api/services", "people:read", self.services),
            Declared("POST", "/api/services", "people:write", self.new_service, Action.SERVICE_CREATE),
            Declared("DELETE", "/api/services/{service}", "people:write", self.remove_service, Action.SERVICE_REMOVE),
            Declared("POST", "/api/services/{service}/keys", "keys:all", self.new_service_key, Action.KEY_CREATE),
            Declared("GET", "/api/workspace/keys", "keys:all", self.keys),
            Declared("DELETE", "/api/workspace/keys/{key}", "keys:all", self.revoke_key, Action.KEY_REVOKE),
        ]

    # --- people
    async def people(self, visit: Visit) -> Response:
        """Everybody in the workspace."""
        async with self._database.read() as connection:
            listed = await users.listed(connection, visit.workspace_id)
            given = {group.id: group.role for group in await stored_groups.listed(connection, visit.workspace_id)}
            memberships = await stored_groups.memberships(connection, visit.workspace_id)
        of_user: dict[str, list[str]] = {}
        for group_id, members in memberships.items():
            for user_id in members:
                of_user.setdefault(user_id, []).append(group_id)
        shown = [
            {
                **_person(user),
                "effective_role": roles.effective(user.role, (given[g] for g in of_user.get(user.id, ()))),
            }
            for user in listed
        ]
        return reply({"people": shown})

    async def person(self, visit: Visit) -> Response:
        """One person, with what they sign in with."""
        async with self._database.read() as connection:
            user = await users.of_workspace(connection, visit.workspace_id, visit.path["person"])
            if user is None or user.role == "service":
                raise people.no_person()
            app = await factors.get_totp(connection, user.id)
            passkeys = await factors.passkeys_of(connection, user.id)
            role = await people.effective_role(connection, user)
        return reply(
            {
                "person": {
                    **_person(user),
                    "effective_role": role,
                    "totp": app is not None and app.confirmed_at is not None,
                    "passkeys": len(passkeys),
                }
            }
        )

    async def change_person(self, visit: Visit) -> Response:
        """Change a name or a role, disable or enable."""
        sent = await read(visit.request, PersonChange)
        user = await people.change(
            self._database,
            visit.workspace_id,
            visit.path["person"],
            actor=visit.principal,
            name=sent.name,
            role=sent.role,
            disabled=sent.disabled,
        )
        return reply({"person": _person(user)})

    async def remove_person(self, visit: Visit) -> Response:
        """Delete an account with all that is its."""
        await people.remove(self._database, visit.workspace_id, visit.path["person"], actor=visit.principal)
        return reply({})

    async def end_sessions(self, visit: Visit) -> Response:
        """Sign somebody out everywhere."""
        ended = await people.end_sessions(
            self._database, visit.workspace_id, visit.path["person"], actor=visit.principal
        )
        return reply({"ended": ended})

    async def reset_factors(self, visit: Visit) -> Response:
        """Forget what somebody lost: their app, recovery codes and passkeys."""
        await people.reset_factors(self._database, visit.workspace_id, visit.path["person"], actor=visit.principal)
        return reply({})

    # --- invitations
    async def invitations(self, visit: Visit) -> Response:
        """The invitations that wait."""
        listed = await invitations.listed(self._database, visit.workspace_id)
        return reply({"invitations": [_invitation(one) for one in listed]})

    async def invite(self, visit: Visit) -> Response:
        """A link for one address; it is in this answer and nowhere else."""
        sent = await read(visit.request, Invitation)
        made, secret = await invitations.invite(
            self._database,
            self._premises.key,
            visit.workspace_id,
            email=sent.email,
            role=sent.role,
            actor=visit.principal,
            hours=self._premises.settings.console.claim_hours,
        )
        return reply({"invitation": _invitation(made), "path": f"{invitations.LINK}{secret}"}, 201)

    async def revoke_invitation(self, visit: Visit) -> Response:
        """End an invitation."""
        await invitations.revoke(self._database, visit.workspace_id, visit.path["invitation"])
        return reply({})

    # --- groups
    async def groups(self, visit: Visit) -> Response:
        """The workspace's groups with their members' ids."""
        async with self._database.read() as connection:
            listed = await stored_groups.listed(connection, visit.workspace_id)
            members = await stored_groups.memberships(connection, visit.workspace_id)
        return reply({"groups": [_group(one, members.get(one.id, [])) for one in listed]})

    async def new_group(self, visit: Visit) -> Response:
        """A new group."""
        sent = await read(visit.request, GroupBody)
        made = await groups.create(self._database, visit.workspace_id, sent.name, sent.role, actor=visit.principal)
        return reply({"group": _group(made, [])}, 201)

    async def change_group(self, visit: Visit) -> Response:
        """Another name and role for a group."""
        sent = await read(visit.request, GroupBody)
        await groups.change(
            self._database,
            visit.workspace_id,
            visit.path["group"],
            name=sent.name,
            role=sent.role,
            actor=visit.principal,
        )
        return reply({})

    async def remove_group(self, visit: Visit) -> Response:
        """Delete a group; its members stay."""
        await groups.remove(self._database, visit.workspace_id, visit.path["group"], actor=visit.principal)
        return reply({})

    async def add_member(self, visit: Visit) -> Response:
        """Put a person into a group."""
        sent = await read(visit.request, Member)
        await groups.add(self._database, visit.workspace_id, visit.path["group"], sent.person, actor=visit.principal)
        return reply({})

    async def remove_member(self, visit: Visit) -> Response:
        """Take a person out of a group."""
        await groups.take_out(
            self._database, visit.workspace_id, visit.path["group"], visit.path["person"], actor=visit.principal
        )
        return reply({})

    # --- services and keys
    async def services(self, visit: Visit) -> Response:
        """The workspace's service accounts."""
        listed = await services.listed(self._database, visit.workspace_id)
        return reply({"services": [_service(one) for one in listed]})

    async def new_service(self, visit: Visit) -> Response:
        """A new service account."""
        sent = await read(visit.request, Name)
        made = await services.create(self._database, visit.workspace_id, sent.name)
        return reply({"service": _service(made)}, 201)

    async def remove_service(self, visit: Visit) -> Response:
        """Delete a service account; its keys are dead within a second."""
        await services.remove(self._database, visit.workspace_id, visit.path["service"])
        return reply({})

    async def new_service_key(self, visit: Visit) -> Response:
        """A key for a service account."""
        sent = await read(visit.request, NewKey)
        service = await services.get(self._database, visit.workspace_id, visit.path["service"])
        return await new_key(self._premises, visit.workspace_id, service.id, sent)

    async def keys(self, visit: Visit) -> Response:
        """Everybody's keys, services' keys, the workspace's own."""
        listed = await keys.list_keys(self._database, visit.workspace_id)
        now = time.time()
        return reply(
            {"keys": [{**key_shown(k), "user_id": k.user_id, "expired": (k.expires_at or now) < now} for k in listed]}
        )

    async def revoke_key(self, visit: Visit) -> Response:
        """Revoke anybody's key."""
        await keys.revoke_key(self._database, visit.workspace_id, visit.path["key"])
        return reply({})


def _person(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email or "",
        "role": user.role,
        "disabled": user.disabled_at is not None,
        "created_at": user.created_at,
    }


def _service(user: User) -> dict[str, object]:
    return {"id": user.id, "name": user.name, "created_at": user.created_at}


def _invitation(claim: Claim) -> dict[str, object]:
    return {
        "id": claim.id,
        "email": claim.email,
        "role": claim.role,
        "created_at": claim.created_at,
        "expires_at": claim.expires_at,
    }


def _group(group: Group, members: list[str]) -> dict[str, object]:
    return {"id": group.id, "name": group.name, "role": group.role, "members": members}
