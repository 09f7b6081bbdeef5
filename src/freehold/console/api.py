"""The page's JSON API: site, assistants, conversations, one's own keys. Each handler reads as one paragraph.

Whose data is meant always comes from the visit's principal, never from the request. The ways in are `signing`, one's
account is `account`, what administrators do is `people`.
"""

import json
import time

from starlette.requests import Request
from starlette.responses import Response

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.console.access import Declared, Visit, address_of, host_of
from freehold.console.answering import Answer, Question
from freehold.console.bodies import Ask, NewKey, Title, read, reply
from freehold.console.premises import Premises
from freehold.console.providers import offered
from freehold.identity import keys
from freehold.protocol.errors import Refused
from freehold.storage import conversations, engines, users
from freehold.storage.credentials import Credential

_MAX_QUESTION = 200_000


class Api:
    """The handlers, over what the console holds open."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._settings = premises.settings
        self._database = premises.database
        self._gateways = premises.gateways

    def routes(self) -> list[Declared]:
        """The routes with what each needs."""
        return [
            Declared("GET", "/api/site", "public", self.site),
            Declared("GET", "/api/assistants", "chat", self.assistants),
            Declared("GET", "/api/conversations", "chat", self.conversations),
            Declared("POST", "/api/conversations", "chat", self.new_conversation),
            Declared("GET", "/api/conversations/{conversation}", "chat", self.conversation),
            Declared("PATCH", "/api/conversations/{conversation}", "chat", self.rename),
            Declared("DELETE", "/api/conversations/{conversation}", "chat", self.delete, Action.CONVERSATION_REMOVE),
            Declared("POST", "/api/conversations/{conversation}/messages", "chat", self.ask),  # type: ignore[arg-type]
            Declared("GET", "/api/keys", "keys:own", self.keys),
            Declared("POST", "/api/keys", "keys:own", self.new_key, Action.KEY_CREATE),
            Declared("DELETE", "/api/keys/{key}", "keys:own", self.revoke_key, Action.KEY_REVOKE),
        ]

    # --- who is here
    async def site(self, request: Request) -> Response:
        """What anybody may know: the workspace's name, whether it has an owner, whether this browser is signed in, by
        which providers one can sign in."""
        try:
            signed_in = bool(await self._premises.visit(request))
        except Refused:
            signed_in = False
        workspace = await self._premises.workspace(request)
        async with self._database.read() as connection:
            claimed = await users.count(connection, workspace.id) > 0
        providers = await offered(self._premises, workspace.id)
        return reply(
            {
                "workspace": {"name": workspace.name},
                "claimed": claimed,
                "signed_in": signed_in,
                "providers": providers,
            }
        )

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

    def _place(self, engine: engines.Engine) -> str:
        """Where it runs, so that the page never calls sealed what is not."""
        if engine.kind == "openai":
            return "outside"
        return "unsealed" if self._settings.runner.driver == "process" else "sealed"

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
        async with written(self._database) as (connection, tell):
            if not await conversations.remove(connection, visit.principal.owner, visit.path["conversation"]):
                raise _no_conversation()
            tell(Action.CONVERSATION_REMOVE, subject=visit.path["conversation"])
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
        worker = self._settings.gateway.worker_of(visit.principal.workspace_id)
        return Answer(self._database, self._gateways[worker], question)

    # --- keys
    async def keys(self, visit: Visit) -> Response:
        """The person's API keys."""
        listed = await keys.list_keys(self._database, visit.workspace_id, user_id=visit.user_id)
        return reply({"keys": [key_shown(k) for k in listed]})

    async def new_key(self, visit: Visit) -> Response:
        """A new API key; its secret is in this answer and nowhere else."""
        sent = await read(visit.request, NewKey)
        return await new_key(self._premises, visit.workspace_id, visit.user_id, sent)

    async def revoke_key(self, visit: Visit) -> Response:
        """Revoke an API key."""
        await keys.revoke_key(self._database, visit.workspace_id, visit.path["key"], user_id=visit.user_id)
        return reply({})


async def new_key(premises: Premises, workspace_id: str, user_id: str, sent: NewKey) -> Response:
    """Make a key as it was asked for: its secret is in this answer and nowhere else."""
    made, secret = await keys.create_key(
        premises.database,
        premises.key,
        workspace_id,
        user_id,
        sent.name,
        expires_at=time.time() + sent.days * 86400 if sent.days is not None else None,
        scopes=sent.scopes,
        assistants=sent.assistants,
        sources=sent.sources,
    )
    return reply({"key": key_shown(made), "secret": secret}, 201)


def _no_conversation() -> Refused:
    return Refused("There is no such conversation.", status=404, code="conversation_not_found")


def key_shown(key: Credential) -> dict[str, object]:
    """A key as lists show it."""
    return {
        "id": key.id,
        "name": key.name,
        "hint": key.hint,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "revoked_at": key.revoked_at,
        "scopes": key.scopes.split(),
        "assistants": json.loads(key.assistants or "[]"),
        "sources": json.loads(key.sources or "[]"),
    }
