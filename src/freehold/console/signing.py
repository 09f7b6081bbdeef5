"""The ways in and out: the first owner's claim, invitations, password, code, passkey, sign-out.

Whatever is wrong, the answer is the same and costs the same: an address, an invitation or a passkey that is not known
cannot be told from a wrong password, a used link or a bad signature. Tries are counted before anything is looked up.
"""

from starlette.requests import Request
from starlette.responses import Response

from freehold.audit.events import Action, Method
from freehold.audit.trail import current
from freehold.console.access import Declared, Visit, clear_session
from freehold.console.bodies import Claim, Code, Join, PasskeySignIn, SignIn, Token, read, reply
from freehold.console.place import site
from freehold.console.premises import Premises
from freehold.console.providers import farewell
from freehold.identity import accounts, invitations, passkeys
from freehold.identity.factors import Factors
from freehold.protocol.errors import Refused
from freehold.storage import users

_CODE_TRIES = 5


class Signing:
    """The handlers of signing in and out."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._factors = Factors(premises.database, premises.key)

    def routes(self) -> list[Declared]:
        """The routes with what each needs."""
        return [
            Declared("POST", "/api/claim", "public", self.claim, Action.CLAIM_USE),
            Declared("POST", "/api/join", "public", self.join, Action.PERSON_JOIN),
            Declared("POST", "/api/join/look", "public", self.look),
            Declared("POST", "/api/sign-in", "public", self.sign_in, Action.SESSION_OPEN),
            Declared("POST", "/api/sign-in/code", "public", self.code, Action.SESSION_OPEN),
            Declared("POST", "/api/sign-in/passkey", "public", self.passkey, Action.SESSION_OPEN),
            Declared("POST", "/api/sign-in/passkey/options", "public", self.passkey_options),
            Declared("POST", "/api/sign-out", "account", self.sign_out, Action.SESSION_END),
        ]

    async def claim(self, request: Request) -> Response:
        """Make the first account with the one-time link, and sign in."""
        sent, here = await read(request, Claim), self._premises
        here.knock(request)
        user = await accounts.redeem_claim(
            here.database,
            here.key,
            here.workspace_id(request),
            sent.token,
            name=sent.name,
            email=sent.email,
            password=sent.password,
        )
        return await here.signed_in(request, user, "pwd")

    async def look(self, request: Request) -> Response:
        """Whom an invitation is for."""
        sent, here = await read(request, Token), self._premises
        here.knock(request)
        found = await invitations.look(here.database, here.key, here.workspace_id(request), sent.token)
        return reply({"email": found.email, "role": found.role})

    async def join(self, request: Request) -> Response:
        """Make the account of an invited address, and sign in."""
        sent, here = await read(request, Join), self._premises
        here.knock(request)
        user = await accounts.redeem_invitation(
            here.database,
            here.key,
            here.workspace_id(request),
            sent.token,
            name=sent.name,
            password=sent.password,
        )
        return await here.signed_in(request, user, "pwd")

    async def sign_in(self, request: Request) -> Response:
        """Sign in by password; who has an authenticator app gives a code next."""
        sent, here = await read(request, SignIn), self._premises
        workspace_id = here.workspace_id(request)
        trail = current()
        trail.email, trail.method = sent.email, Method.PASSWORD
        here.knock(request, workspace_id, sent.email.strip().lower())
        user = await accounts.check_password(here.database, workspace_id, sent.email, sent.password)
        if not await self._factors.is_on(user.id):
            return await here.signed_in(request, user, "pwd")
        response = reply({"step": "code"})
        here.steps.begin(response, "code", user.id, tries=_CODE_TRIES)
        return response

    async def code(self, request: Request) -> Response:
        """The second step: a code of the app, or a recovery code."""
        sent, here = await read(request, Code), self._premises
        user_id = here.steps.take(request, "code") or ""
        trail = current()
        trail.claimed, trail.method = user_id or None, Method.TOTP
        here.knock(request, *((here.workspace_id(request), user_id) if user_id else ()))
        method = await self._factors.check(user_id, sent.code)
        async with here.database.read() as connection:
            user = await users.of_workspace(connection, here.workspace_id(request), user_id)
        if method is None or user is None or user.disabled_at is not None:
            raise Refused("The code is wrong or too old.", status=401, code="sign_in_failed")
        return await here.signed_in(request, user, f"pwd {method}")

    async def passkey_options(self, request: Request) -> Response:
        """A challenge for a passkey; nobody's address is asked."""
        here = self._premises
        here.knock(request)
        options, state = passkeys.begin_sign_in(site(request, ""))
        response = reply({"options": options})
        here.steps.begin(response, "passkey", state)
        return response

    async def passkey(self, request: Request) -> Response:
        """Sign in by a passkey."""
        sent, here = await read(request, PasskeySignIn), self._premises
        current().method = Method.PASSKEY
        here.knock(request)
        state = here.steps.take(request, "passkey")
        if state is None:
            raise passkeys.sign_in_failed()
        user = await passkeys.sign_in(
            here.database, site(request, ""), here.workspace_id(request), state, sent.credential
        )
        return await here.signed_in(request, user, "passkey")

    async def sign_out(self, visit: Visit) -> Response:
        """End this session; says where the provider's own can be ended, if one opened it."""
        told = await farewell(self._premises, visit)
        await self._premises.sessions.end(visit.principal, visit.principal.credential_id)
        response = reply(told)
        clear_session(response)
        return response
