"""The SCIM 2.0 endpoints under /scim/v2, for identity providers that provision people and groups.

One declared route takes every path below /scim/: whoever has no valid token is answered 401 before the path is looked
at. Handlers are short; what a client may do is in `identity.provisioning`, how it is read and shown in `scim_answers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ColumnElement
from starlette.requests import Request
from starlette.responses import Response

from freehold.audit.events import Action
from freehold.audit.trail import current
from freehold.console.access import Declared, host_of
from freehold.console.premises import Premises
from freehold.console.scim_answers import Question, answer, listing, page_of, question_of, read, refused, with_meta
from freehold.identity import provisioning
from freehold.identity.scim import groups, people, schemas, tokens
from freehold.identity.scim.conditions import condition
from freehold.identity.scim.filters import parse
from freehold.identity.scim.groups import Change
from freehold.identity.scim.patch import Operation, assignments, operations
from freehold.identity.scim.people import Draft
from freehold.protocol.errors import Refused, Unavailable
from freehold.storage import provisioned
from freehold.storage.groups import Group
from freehold.storage.provisioned import Attribute, Person

_METHODS: tuple[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], ...] = ("GET", "POST", "PUT", "PATCH", "DELETE")
_COLLECTIONS = frozenset({"Users", "Groups"})
_SELF = frozenset({"ServiceProviderConfig", "ResourceTypes", "Schemas"})


class Scim:
    """The handlers of provisioning."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._database = premises.database

    def routes(self) -> list[Declared]:
        """The one route; its handler proves the token first."""
        return [
            Declared(
                method, "/scim/{path:path}", "signed", self.answer, Action.SCIM_CHANGE if method != "GET" else None
            )
            for method in _METHODS
        ]

    async def answer(self, request: Request) -> Response:
        """Answer a provisioning client, errors in SCIM's shape."""
        try:
            workspace_id = self._premises.workspace_id(request)
            trail = current()
            async with self._premises.witness.refusals(trail):
                trail.credential = await tokens.demand(
                    self._database, self._premises.key, workspace_id, _bearer(request)
                )
                return await self._dispatched(request, workspace_id)
        except (Refused, Unavailable) as error:
            return refused(error)

    async def _dispatched(self, request: Request, workspace_id: str) -> Response:
        base, path = f"https://{host_of(request)}{tokens.BASE}", request.url.path
        names = path.removeprefix(f"{tokens.BASE}/").split("/") if path.startswith(f"{tokens.BASE}/") else []
        ask = _Ask(request, workspace_id, base)
        match ("GET" if request.method == "HEAD" else request.method, *names):
            case ("GET", "ServiceProviderConfig"):
                return answer(schemas.configuration(base))
            case ("GET", "ResourceTypes" | "Schemas" as of_itself, *wanted) if len(wanted) < 2:
                return self._of_itself(of_itself, wanted, ask)
            case ("GET", "Users"):
                return await self._people(ask)
            case ("POST", "Users"):
                return await self._new_person(ask)
            case ("GET" | "PUT" | "PATCH" | "DELETE" as method, "Users", user_id):
                return await self._person(ask, method, user_id)
            case ("GET", "Groups"):
                return await self._groups(ask)
            case ("POST", "Groups"):
                return await self._new_group(ask)
            case ("GET" | "PUT" | "PATCH" | "DELETE" as method, "Groups", group_id):
                return await self._group(ask, method, group_id)
            case (_, "Bulk") | ("POST", ".search"):
                raise Refused("This is not supported here.", status=501, code="not_supported")
            case (_, *known) if _is_known(known):
                raise Refused("This path does not take this method.", status=405, code="method_not_allowed")
        raise Refused("There is nothing at this path.", status=404, code="path_not_found")

    def _of_itself(self, name: str, wanted: list[str], ask: "_Ask") -> Response:
        found = (schemas.schemas if name == "Schemas" else schemas.resource_types)(ask.base)
        if "filter" in ask.request.query_params:  # RFC 7644, 4: a filter here is answered 403
            raise Refused("These are not filtered.", status=403, code="not_supported")
        if not wanted:
            return answer(listing(found, len(found), 1))
        one = next((resource for resource in found if resource["id"] == wanted[0]), None)
        if one is None:
            raise Refused("There is nothing at this path.", status=404, code="path_not_found")
        return answer(one)

    # --- people
    async def _people(self, ask: "_Ask") -> Response:
        question, page = question_of(ask.request), page_of(ask.request)
        found, inside, total = await provisioning.find_people(
            self._database,
            ask.workspace_id,
            _condition(question, provisioned.PEOPLE),
            offset=page.start - 1,
            limit=page.count,
        )
        shown = [question.of(_person(one, inside.get(one.user.id, []), ask.base)) for one in found]
        return answer(listing(shown, total, page.start))

    async def _new_person(self, ask: "_Ask") -> Response:
        question, draft = question_of(ask.request), Draft()
        for operation in assignments(await read(ask.request)):
            draft.apply(operation)
        made = await provisioning.create_person(self._database, ask.workspace_id, draft)
        return answer(question.of(_person(made, [], ask.base)), 201, location=f"{ask.base}/Users/{made.user.id}")

    async def _person(self, ask: "_Ask", method: str, user_id: str) -> Response:
        question, workspace_id = question_of(ask.request), ask.workspace_id
        match method:
            case "DELETE":
                await provisioning.remove_person(self._database, workspace_id, user_id)
                return Response(status_code=204)
            case "GET":
                person, inside = await provisioning.get_person(self._database, workspace_id, user_id)
            case _:
                asked, whole = await _asked(ask.request, method)

                def changed(before: Draft) -> Draft:
                    draft = Draft() if whole else before
                    for operation in asked:
                        draft.apply(operation)
                    return draft

                person, inside = await provisioning.change_person(self._database, workspace_id, user_id, changed)
        return answer(question.of(_person(person, inside, ask.base)))

    # --- groups
    async def _groups(self, ask: "_Ask") -> Response:
        question, page = question_of(ask.request), page_of(ask.request)
        found, inside, total = await provisioning.find_groups(
            self._database,
            ask.workspace_id,
            _condition(question, provisioned.GROUPS),
            offset=page.start - 1,
            limit=page.count,
            members=question.wants("members"),
        )
        shown = [question.of(_group(one, inside.get(one.id, []), ask.base)) for one in found]
        return answer(listing(shown, total, page.start))

    async def _new_group(self, ask: "_Ask") -> Response:
        question = question_of(ask.request)
        change = _change(assignments(await read(ask.request)))
        made, inside = await provisioning.create_group(self._database, ask.workspace_id, change)
        return answer(question.of(_group(made, inside, ask.base)), 201, location=f"{ask.base}/Groups/{made.id}")

    async def _group(self, ask: "_Ask", method: str, group_id: str) -> Response:
        question, workspace_id = question_of(ask.request), ask.workspace_id
        match method:
            case "DELETE":
                await provisioning.remove_group(self._database, workspace_id, group_id)
                return Response(status_code=204)
            case "GET":
                group, inside = await provisioning.get_group(
                    self._database, workspace_id, group_id, members=question.wants("members")
                )
            case _:
                asked, whole = await _asked(ask.request, method)
                change = _change(asked)
                if whole:
                    change.identified = True
                group, inside = await provisioning.change_group(self._database, workspace_id, group_id, change)
                if not whole and not question.selective:  # a group's answer can be long, and nobody reads this one
                    return Response(status_code=204)
        return answer(question.of(_group(group, inside, ask.base)))


@dataclass(frozen=True)
class _Ask:
    """A request that was let in: where, and under which address clients find it."""

    request: Request
    workspace_id: str
    base: str


def _bearer(request: Request) -> str:
    values = request.headers.getlist("authorization")
    scheme, _, secret = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return secret.strip() if scheme.lower() == "bearer" else ""


def _is_known(names: list[str]) -> bool:
    if len(names) == 1:
        return names[0] in _COLLECTIONS | _SELF
    return len(names) == 2 and names[0] in _COLLECTIONS | {"ResourceTypes", "Schemas"}


async def _asked(request: Request, method: str) -> tuple[list[Operation], bool]:
    """What is to change, and whether it is the whole resource that was sent."""
    body = await read(request)
    return (assignments(body), True) if method == "PUT" else (operations(body), False)


def _change(asked: list[Operation]) -> Change:
    change = Change()
    for operation in asked:
        change.apply(operation)
    return change


def _condition(question: Question, attributes: Mapping[str, Attribute]) -> ColumnElement[bool] | None:
    return condition(parse(question.filter), attributes) if question.filter else None


def _person(person: Person, inside: list[tuple[str, str]], base: str) -> dict[str, Any]:
    location = f"{base}/Users/{person.user.id}"
    return with_meta(people.shown(person, inside, base), "User", person.user.created_at, location)


def _group(group: Group, inside: list[str], base: str) -> dict[str, Any]:
    location = f"{base}/Groups/{group.id}"
    return with_meta(groups.shown(group, inside, base), "Group", group.created_at, location)
