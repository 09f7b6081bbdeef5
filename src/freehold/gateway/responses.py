"""`/v1/responses`: exchanges that are kept, gone on from, read again and deleted. Its routes are in `routes`.

What is kept is the person's (or the key's) alone: another's is answered like one that never was. It is stored before
the client sees the end of the answer, so that the id it gets is good.
"""

import msgspec

from freehold.gateway.answer import Answer
from freehold.gateway.call import Call
from freehold.gateway.exchange import Exchanges
from freehold.identity.principal import Principal
from freehold.protocol import responses
from freehold.protocol.errors import Refused
from freehold.protocol.responses import Item, ResponseWriter
from freehold.storage import responses as stored
from freehold.storage.engine import Database
from freehold.storage.responses import Holder, StoredResponse


class Responses:
    """The handlers."""

    def __init__(self, exchanges: Exchanges, database: Database) -> None:
        self._exchanges = exchanges
        self._database = database

    async def create(self, call: Call, principal: Principal) -> None:
        """`POST /v1/responses`."""
        exchanges = self._exchanges
        request = responses.read(await call.body(exchanges.max_body), exchanges.bounds)
        before = await self._before(principal, request.previous_id) if request.previous_id else []

        async def keep(answer: Answer) -> None:
            writer = answer.writer
            if not isinstance(writer, ResponseWriter) or answer.end is None:
                raise TypeError
            writer.finish()
            body, items = (msgspec.json.encode(part).decode() for part in (writer.object(answer.end), request.items))
            async with self._database.write() as connection:
                await stored.keep(
                    connection, _whose(principal), StoredResponse(writer.id, request.previous_id, body, items)
                )

        await exchanges.answer(call, principal, request.asked(before), keep=keep if request.stored else None)

    async def get(self, call: Call, principal: Principal) -> None:
        """`GET /v1/responses/{response}`."""
        call.reply((await self._found(principal, call.last)).body.encode())

    async def items(self, call: Call, principal: Principal) -> None:
        """`GET /v1/responses/{response}/input_items`: those of the whole conversation, the newest first."""
        parent = call.path.removesuffix("/input_items").rpartition("/")[2]
        found = responses.listed_items(
            [
                *(await self._previous(principal, parent)),
                *msgspec.json.decode((await self._found(principal, parent)).input, type=list[Item]),
            ]
        )[::-1]
        ends = {"first_id": found[0]["id"], "last_id": found[-1]["id"], "has_more": False}
        call.reply(msgspec.json.encode({"object": "list", "data": found, **ends}))

    async def delete(self, call: Call, principal: Principal) -> None:
        """`DELETE /v1/responses/{response}`."""
        async with self._database.write() as connection:
            if not await stored.remove(connection, _whose(principal), call.last):
                raise _missing()
        call.reply(msgspec.json.encode({"id": call.last, "object": "response", "deleted": True}))

    async def _found(self, principal: Principal, response_id: str) -> StoredResponse:
        async with self._database.read() as connection:
            found = await stored.get(connection, _whose(principal), response_id)
        if found is None:
            raise _missing()
        return found

    async def _previous(self, principal: Principal, response_id: str) -> list[Item]:
        found = await self._found(principal, response_id)
        return await self._before(principal, found.previous_id) if found.previous_id else []

    async def _before(self, principal: Principal, response_id: str) -> list[Item]:
        """What was said up to and with a response."""
        async with self._database.read() as connection:
            chain = await stored.chain(connection, _whose(principal), response_id)
        if chain is None:
            raise Refused(
                "There is no such response to go on from.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        said: list[Item] = []
        for link in chain:
            said += msgspec.json.decode(link.input, type=list[Item])
            said += msgspec.json.decode(link.body)["output"]
        return said


def _whose(principal: Principal) -> Holder:
    return Holder(principal.workspace_id, principal.holder)


def _missing() -> Refused:
    return Refused("There is no such response.", status=404, code="response_not_found")
