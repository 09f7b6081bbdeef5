"""One's own account: password, authenticator app, recovery codes, passkeys, sessions.

What changes how somebody signs in needs a fresh proof: a session of the last quarter of an hour, or the password once
more. Whatever proves more makes a new session in place of the old one.
"""

from starlette.responses import Response

from freehold.audit.events import Action
from freehold.console.access import Declared, Visit
from freehold.console.bodies import Code, Name, NewPasskey, NewPassword, Password, read, reply
from freehold.console.place import site
from freehold.console.premises import Premises, person
from freehold.identity import accounts, passkeys, roles
from freehold.identity.factors import Factors
from freehold.protocol.errors import Refused
from freehold.storage import factors, providers, users
from freehold.storage.factors import Passkey


class Account:
    """The handlers of one's own account."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._factors = Factors(premises.database, premises.key)

    def routes(self) -> list[Declared]:
        """The routes with what each needs."""
        return [
            Declared("GET", "/api/me", "account", self.me),
            Declared("POST", "/api/account/confirm", "account", self.confirm, Action.SESSION_OPEN),
            Declared("POST", "/api/account/password", "account", self.password, Action.FACTOR_PASSWORD),
            Declared("GET", "/api/sessions", "account", self.sessions),
            Declared("DELETE", "/api/sessions", "account", self.end_others, Action.SESSION_END),
            Declared("DELETE", "/api/sessions/{session}", "account", self.end_session, Action.SESSION_END),
            Declared("GET", "/api/factors", "account", self.factors),
            Declared("POST", "/api/factors/totp", "account", self.begin_totp),
            Declared("POST", "/api/factors/totp/confirm", "account", self.confirm_totp, Action.FACTOR_ADD),
            Declared("DELETE", "/api/factors/totp", "account", self.remove_totp, Action.FACTOR_REMOVE),
            Declared("POST", "/api/factors/recovery", "account", self.recovery, Action.FACTOR_ADD),
            Declared("POST", "/api/passkeys/options", "account", self.passkey_options),
            Declared("POST", "/api/passkeys", "account", self.add_passkey, Action.FACTOR_ADD),
            Declared("PATCH", "/api/passkeys/{passkey}", "account", self.rename_passkey),
            Declared("DELETE", "/api/passkeys/{passkey}", "account", self.remove_passkey, Action.FACTOR_REMOVE),
        ]

    async def me(self, visit: Visit) -> Response:
        """Who is signed in, what they may do, and whether they must set up a second factor first."""
        here = self._premises
        user = await here.user(visit)
        workspace = await here.workspace(visit.request)
        role = visit.principal.role
        return reply(
            {
                "user": {**person(user), "role": role},
                "workspace": {"id": workspace.id, "name": workspace.name},
                "permissions": sorted(roles.GRANTED.get(role, frozenset())),  # type: ignore[call-overload]
                "held_back": visit.held_back,
            }
        )

    async def confirm(self, visit: Visit) -> Response:
        """Prove with the password that it is still oneself: a fresh session."""
        sent = await read(visit.request, Password)
        user = await self._proved(visit, sent.password)
        return await self._again(visit, user)

    async def password(self, visit: Visit) -> Response:
        """Change the password, and end all sessions but a fresh one here. Who has none yet needs a fresh session."""
        sent, here = await read(visit.request, NewPassword), self._premises
        user = await here.user(visit)
        if user.password_hash is None:
            await here.sessions.demand_fresh(visit.principal)
        else:
            user = await self._proved(visit, sent.current)
        standing = await here.sessions.standing(visit.principal)
        await accounts.set_password(here.database, user, sent.password)
        response = reply({})
        await here.give_session(visit.request, response, user, " ".join(sorted(standing.methods | {"pwd"})))
        return response

    async def sessions(self, visit: Visit) -> Response:
        """One's live sessions."""
        return reply({"sessions": await self._premises.sessions.listed(visit.principal)})

    async def end_session(self, visit: Visit) -> Response:
        """End one of one's sessions."""
        await self._premises.sessions.end(visit.principal, visit.path["session"])
        return reply({})

    async def end_others(self, visit: Visit) -> Response:
        """End all of one's sessions but this one."""
        return reply({"ended": await self._premises.sessions.end_others(visit.principal)})

    async def factors(self, visit: Visit) -> Response:
        """What one signs in with."""
        async with self._premises.database.read() as connection:
            app = await factors.get_totp(connection, visit.user_id)
            left = await factors.recovery_codes_left(connection, visit.user_id)
            listed = await factors.passkeys_of(connection, visit.user_id)
            user = await users.get(connection, visit.user_id)
            linked = await providers.linked(connection, visit.user_id)
        return reply(
            {
                "providers": linked,
                "password": user is not None and user.password_hash is not None,
                "totp": app is not None and app.confirmed_at is not None,
                "recovery_codes_left": left,
                "passkeys": [_passkey(one) for one in listed],
                "demanded": visit.principal.role in self._premises.sessions.policy.second_factor,
            }
        )

    async def begin_totp(self, visit: Visit) -> Response:
        """A new secret for an authenticator app, shown once."""
        user = await self._fresh(visit)
        workspace = await self._premises.workspace(visit.request)
        return reply(await self._factors.begin(user, workspace.name), 201)

    async def confirm_totp(self, visit: Visit) -> Response:
        """The app's first code: from now on it is asked for. Answers the recovery codes, shown once."""
        sent = await read(visit.request, Code)
        user = await self._fresh(visit)
        self._premises.knock(visit.request, visit.workspace_id, user.id)
        codes = await self._factors.confirm(user.id, sent.code)
        return await self._again(visit, user, gained="otp", answer={"recovery_codes": codes})

    async def remove_totp(self, visit: Visit) -> Response:
        """Sign in without the app from now on."""
        user = await self._fresh(visit)
        await self._factors.remove(user.id)
        return await self._again(visit, user, lost=frozenset({"otp", "recovery"}))

    async def recovery(self, visit: Visit) -> Response:
        """Fresh recovery codes in place of the old ones, shown once."""
        user = await self._fresh(visit)
        if not await self._factors.is_on(user.id):
            raise Refused("No authenticator app is set up.", status=404, code="totp_not_found")
        return reply({"recovery_codes": await self._factors.new_recovery_codes(user.id)})

    async def passkey_options(self, visit: Visit) -> Response:
        """What the browser needs to make a passkey."""
        here = self._premises
        user, workspace = await self._fresh(visit), await here.workspace(visit.request)
        options, state = await passkeys.begin_registration(here.database, site(visit.request, workspace.name), user)
        response = reply({"options": options})
        here.steps.begin(response, "registration", (user.id, state))
        return response

    async def add_passkey(self, visit: Visit) -> Response:
        """Remember the passkey that the browser made."""
        sent, here = await read(visit.request, NewPasskey), self._premises
        user = await self._fresh(visit)
        whose, state = here.steps.take(visit.request, "registration") or ("", {})
        if whose != user.id:
            raise Refused("This passkey could not be added. Try again.", code="passkey_invalid")
        made = await passkeys.register(here.database, site(visit.request, ""), user, state, sent.credential, sent.name)
        return await self._again(visit, user, gained="passkey", answer={"passkey": _passkey(made)}, status=201)

    async def rename_passkey(self, visit: Visit) -> Response:
        """Give a passkey another name."""
        sent = await read(visit.request, Name)
        await passkeys.rename(self._premises.database, visit.user_id, visit.path["passkey"], sent.name)
        return reply({})

    async def remove_passkey(self, visit: Visit) -> Response:
        """Forget a passkey."""
        user = await self._fresh(visit)
        await passkeys.remove(self._premises.database, user.id, visit.path["passkey"])
        async with self._premises.database.read() as connection:
            left = await factors.passkeys_of(connection, user.id)
        return await self._again(visit, user, lost=frozenset() if left else frozenset({"passkey"}))

    async def _fresh(self, visit: Visit) -> users.User:
        await self._premises.sessions.demand_fresh(visit.principal)
        return await self._premises.user(visit)

    async def _proved(self, visit: Visit, password: str) -> users.User:
        user = await self._premises.user(visit)
        self._premises.knock(visit.request, visit.workspace_id, (user.email or user.id).lower())
        await accounts.confirm_password(user, password)
        return user

    async def _again(
        self,
        visit: Visit,
        user: users.User,
        *,
        gained: str = "",
        lost: frozenset[str] = frozenset(),
        answer: dict[str, object] | None = None,
        status: int = 200,
    ) -> Response:
        """A fresh session with what is proved now."""
        standing = await self._premises.sessions.standing(visit.principal)
        methods = (standing.methods | set(gained.split())) - lost
        response = reply(answer or {}, status)
        await self._premises.give_session(visit.request, response, user, " ".join(sorted(methods)) or "pwd")
        return response


def _passkey(passkey: Passkey) -> dict[str, object]:
    return {
        "id": passkey.id,
        "name": passkey.name,
        "created_at": passkey.created_at,
        "last_used_at": passkey.last_used_at,
    }
