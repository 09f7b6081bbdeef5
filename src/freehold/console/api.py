"""The page's JSON API: site, claim, sign-in, conversations, keys. Each handler reads as one paragraph.

Whose data is meant always comes from the visit's principal, never from the request.
"""

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.requests import Request
from starlette.responses import Response

from freehold.console.access import Visit, address_of, clear_session, host_of, set_session, visit
from freehold.console.answering import Answer, Question
from freehold.console.bodies import Ask, Claim, NewKey, SignIn, Title, read, reply
from freehold.identity import accounts, keys
from freehold.identity.directory import Directory
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.http import UnixClient
from freehold.settings import Settings
from freehold.storage import conversations, engines, users, workspaces
from freehold.storage.credentials import Credential
from freehold.storage.engine import Database

_MAX_QUESTION = 200_000


class Api:
    """The handlers, over what the console holds open."""

    def __init__(self, settings: Settings, database: Database, directory: Directory, gateway: UnixClient) -> None:
        self._settings = settings
        self._database = database
        self._directory = directory
        self._gateway = gateway
        self._key = settings.layout.secret("credentials")

    # --- who is here
    async def site(self, request: Request) -> Response:
        """What anybody may know: the workspace's name, whether it has an owner, whether this browser is signed in."""
        try:
            signed_in = bool(await visit(request, self._directory))
        except Refused:
            signed_in = False
        async with self._database.read() as connection:
            workspace = await self._workspace(request, connection)
            claimed = await users.count(connection, workspace.id) > 0
        return reply({"workspace": {"name": workspace.name}, "claimed": claimed, "signed_in": signed_in})

    async def claim(self, request: Request) -> Response:
        """Make the first account with the one-time link, and sign in."""
        sent = await read(request, Claim)
        async with self._database.read() as connection:
            workspace = await self._workspace(request, connection)
        user = await accounts.redeem_claim(
            self._database,
            self._key,
            workspace.id,
            sent.token,
            name=sent.name,
            email=sent.email,
            password=sent.password,
        )
        return await self._signed_in(user)

    async def sign_in(self, request: Request) -> Response:
        """Sign in by password."""
        sent = await read(request, SignIn)
        async with self._database.read() as connection:
            workspace = await self._workspace(request, connection)
        return await self._signed_in(
            await accounts.check_password(self._database, workspace.id, sent.email, sent.password)
        )

    async def sign_out(self, visit: Visit) -> Response:
        """End this session."""
        await accounts.close_session(self._database, visit.principal.workspace_id, visit.principal.credential_id)
        response = reply({})
        clear_session(response)
        return response

    async def me(self, visit: Visit) -> Response:
        """Who is signed in."""
        async with self._database.read() as connection:
            user = await users.get(connection, visit.principal.user_id or "")
            workspace = await workspaces.get(connection, visit.principal.workspace_id)
        if user is None or workspace is None:
            raise Refused("Please sign in.", status=401, code="not_signed_in")
        return reply({"user": _person(user), "workspace": {"id": workspace.id, "name": workspace.name}})

    async def assistants(self, visit: Visit) -> Response:
        """What one may chat with."""
        async with self._database.read() as connection:
            listed = await engines.listed(connection, visit.principal.workspace_id)
        return reply(
            {
                "assistants": [
                    {
                        "id": e.name,
                        "name": e.name,
                        "description": e.description,
                        "default": e.is_default,
                        "place": self._place(e),
                    }
                    for e in listed
                    if e.kind != "embedder"
                ]
            }
        )

    async def _workspace(self, request: Request, connection: AsyncConnection) -> workspaces.Workspace:
        """The workspace of the name that was asked for."""
        workspace_id = self._directory.places.workspace_of(host_of(request))
        workspace = await workspaces.get(connection, workspace_id) if workspace_id else None
        if workspace is None:
            raise Unavailable("This installation is not set up yet.", code="not_ready", retry_after=2)
        return workspace

    def _place(self, engine: engines.Engine) -> str:
        """Where it runs, so that the page never calls sealed what is not."""
        if engine.kind == "openai":
            return "outside"
        return "unsealed" if self._settings.runner.driver == "process" else "sealed"

    async def _signed_in(self, user: users.User) -> Response:
        hours = self._settings.console.session_hours
        response = reply({"user": _person(user)})
        set_session(response, await accounts.open_session(self._database, self._key, user, hours), hours)
        return response

    # --- conversations
    async def conversations(self, visit: Visit) -> Response:
        """The person's conversations, newest first."""
        async with self._database.read() as connection:
            return reply({"conversations": await conversations.listed(connection, visit.principal.owner)})

    async def new_conversation(self, visit: Visit) -> Response:
        """An empty conversation."""
        async with self._database.write() as connection:
            return reply({"conversation": await conversations.create(connection, visit.principal.owner)}, 201)

    async def conversation(self, visit: Visit) -> Response:
        """One conversation with its messages."""
        async with self._database.read() as connection:
            found = await conversations.get(connection, visit.principal.owner, visit.path["conversation"])
            if found is None:
                raise _no_conversation()
            return reply({"conversation": found, "messages": await conversations.read_messages(connection, found.id)})

    async def rename(self, visit: Visit) -> Response:
        """Give a conversation a title."""
        title = (await read(visit.request, Title)).title.strip()
        if not 1 <= len(title) <= 200:
            raise Refused("A title has 1 to 200 characters.", param="title", code="title_invalid")
        async with self._database.write() as connection:
            if not await conversations.rename(connection, visit.principal.owner, visit.path["conversation"], title):
                raise _no_conversation()
        return reply({})

    async def delete(self, visit: Visit) -> Response:
        """Delete a conversation."""
        async with self._database.write() as connection:
            if not await conversations.remove(connection, visit.principal.owner, visit.path["conversation"]):
                raise _no_conversation()
        return reply({})

    async def ask(self, visit: Visit) -> Answer:
        """Store the question and stream its answer."""
        sent = await read(visit.request, Ask)
        if not sent.regenerate and not 1 <= len(sent.content.strip()) <= _MAX_QUESTION:
            raise Refused(f"A message has 1 to {_MAX_QUESTION} characters.", param="content", code="content_invalid")
        async with self._database.write() as connection:
            found = await conversations.get(connection, visit.principal.owner, visit.path["conversation"])
            if found is None:
                raise _no_conversation()
            if sent.regenerate:
                await conversations.drop_last_answer(connection, found.id)
            else:
                await conversations.append(connection, found.id, "user", sent.content, "complete")
            history = await conversations.read_messages(connection, found.id)
        if not history or history[-1].role != "user":
            raise Refused("There is no question to answer again.", code="nothing_to_answer")
        question = Question(
            found.id,
            found.title,
            history,
            sent.assistant,
            visit.secret,
            host_of(visit.request),
            address_of(visit.request),
        )
        return Answer(self._database, self._gateway, question)

    # --- keys
    async def keys(self, visit: Visit) -> Response:
        """The person's API keys."""
        principal = visit.principal
        listed = await keys.list_keys(self._database, principal.workspace_id, user_id=principal.user_id)
        return reply({"keys": [_key(k) for k in listed]})

    async def new_key(self, visit: Visit) -> Response:
        """A new API key; its secret is in this answer and nowhere else."""
        sent = await read(visit.request, NewKey)
        principal = visit.principal
        made, secret = await keys.create_key(
            self._database, self._key, principal.workspace_id, principal.user_id, sent.name
        )
        return reply({"key": _key(made), "secret": secret}, 201)

    async def revoke_key(self, visit: Visit) -> Response:
        """Revoke an API key."""
        principal, key_id = visit.principal, visit.path["key"]
        await keys.revoke_key(self._database, principal.workspace_id, key_id, user_id=principal.user_id)
        return reply({})


def _no_conversation() -> Refused:
    return Refused("There is no such conversation.", status=404, code="conversation_not_found")


def _person(user: users.User) -> dict[str, str]:
    return {"id": user.id, "name": user.name, "email": user.email, "role": user.role}


def _key(key: Credential) -> dict[str, object]:
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "created_at": key.created_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
    }
