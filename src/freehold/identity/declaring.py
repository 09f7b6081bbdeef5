"""Declaring sign-in providers: what the operator decides, checked and kept. Called by `cli/provider.py`.

A provider is trusted with who people are, so it is declared where the machine is owned and nowhere else; groups are
kept by their ids, so that another name does not give somebody else's rights.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action
from freehold.audit.trail import written
from freehold.identity import accounts
from freehold.identity import providers as identity
from freehold.identity.providers import Metadata, Options
from freehold.identity.sealing import Sealer
from freehold.protocol.errors import Misconfigured, Problem, Refused
from freehold.protocol.ids import new_id
from freehold.storage import groups, providers, users
from freehold.storage.engine import Database
from freehold.storage.providers import Provider

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,38}[a-z0-9]|[a-z0-9]")
_WORD = re.compile(r"[!#-\[\]-~]{1,100}")
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+")
_SHOWN = re.compile(r"[!-~]{1,300}")


@dataclass(frozen=True)
class Declaration:
    """A provider as the operator gives it. `groups`: a value of the claim → a group's name or id."""

    name: str
    title: str
    issuer: str
    client_id: str
    client_secret: str | None = None
    audience: str | None = None
    scopes: Sequence[str] = ()
    groups: Mapping[str, str] = field(default_factory=dict)
    groups_claim: str = "groups"
    email_domains: Sequence[str] = ()
    create: bool = True
    link_by_email: bool = False
    trust_email: bool = False
    subject_claim: str = "sub"
    ca: str | None = None


async def declare(
    database: Database, key: bytes, workspace_id: str, wanted: Declaration, metadata: Metadata
) -> Provider:
    """Keep a provider that said `metadata` of itself. Raises Misconfigured with every problem, Refused 404 and 409."""
    _check(wanted)
    provider_id = new_id("idp")
    secret = wanted.client_secret
    sealed = Sealer(key, identity.SEALED_FOR).seal(secret.encode(), provider_id) if secret else None
    async with written(database) as (connection, tell):
        given = {value: await _group(connection, workspace_id, name) for value, name in wanted.groups.items()}
        options = Options(
            scopes=tuple(dict.fromkeys(("openid", *(wanted.scopes or ("profile", "email"))))),
            groups_claim=wanted.groups_claim,
            groups=given,
            email_domains=tuple(domain.lower() for domain in wanted.email_domains),
            create=wanted.create,
            link_by_email=wanted.link_by_email,
            trust_email=wanted.trust_email,
            subject_claim=wanted.subject_claim,
            ca=wanted.ca,
        )
        try:
            made = await providers.create(
                connection,
                workspace_id,
                provider_id=provider_id,
                name=wanted.name,
                title=accounts.checked_name(wanted.title),
                issuer=wanted.issuer,
                client_id=wanted.client_id,
                client_secret=sealed,
                audience=wanted.audience,
                options=identity.stored(options),
                metadata=identity.stored(metadata),
            )
        except IntegrityError:
            raise Refused("There is a provider of this name already.", status=409, code="name_taken") from None
        tell(Action.PROVIDER_CREATE, subject=provider_id)
        return made


async def take(database: Database, provider: Provider, metadata: Metadata) -> None:
    """Keep what a provider says now, with the servers that it names now: the operator's decision."""
    async with written(database) as (connection, tell):
        text = identity.stored(metadata)
        await providers.learned(connection, provider.id, text, fetched_at=time.time(), changed=True)
        tell(Action.PROVIDER_CHANGE, subject=provider.id)


async def find(database: Database, workspace_id: str, name: str) -> Provider:
    """The provider of that name. Raises Refused 404."""
    async with database.read() as connection:
        found = await providers.named(connection, workspace_id, name)
    if found is None:
        raise Refused("There is no such provider. 'freehold provider list' shows them.", status=404)
    return found


async def link(database: Database, provider: Provider, subject: str, user: users.User) -> None:
    """Say who a subject of the provider is: a person, or a service for tokens of programs. Raises Refused 400, 409."""
    if not 1 <= len(subject) <= 300 or not subject.isprintable():
        raise Refused("A subject has 1 to 300 characters.", param="subject")
    try:
        async with written(database) as (connection, tell):
            await providers.link(connection, provider.id, subject, user.id)
            tell(Action.PROVIDER_CHANGE, subject=provider.id, other=user.id)
    except IntegrityError:
        raise Refused("This subject of the provider is somebody already.", status=409) from None


def _check(wanted: Declaration) -> None:
    problems = []
    if not _NAME.fullmatch(wanted.name):
        problems.append(Problem("that is no name for a provider", "Use lower-case letters, digits and hyphens."))
    if not _SHOWN.fullmatch(wanted.client_id) or not _SHOWN.fullmatch(wanted.audience or "-"):
        problems.append(Problem("the client id or the audience cannot be one", "Copy it from the provider as it is."))
    if not all(_WORD.fullmatch(scope) for scope in wanted.scopes):
        problems.append(Problem("a scope is one word", "Give --scope once for each."))
    if wrong := [domain for domain in wanted.email_domains if not _DOMAIN.fullmatch(domain.lower())]:
        problems.append(Problem(f"{wrong[0]} is no e-mail domain", "Give it as in example.org."))
    if wanted.subject_claim not in ("sub", "oid"):
        problems.append(Problem("a person is named by the claim sub or oid", "Give one of them as --subject-claim."))
    if not wanted.groups_claim or len(wanted.groups_claim) > 200:
        problems.append(Problem("that is no name of a claim", "Give it as in groups or realm_access.roles."))
    if problems:
        raise Misconfigured(*problems)


async def _group(connection: AsyncConnection, workspace_id: str, name: str) -> str:
    found = await groups.named(connection, workspace_id, name)
    if found is None:
        raise Refused("There is no group of that name. 'freehold group list' shows them.", status=404)
    return found.id
