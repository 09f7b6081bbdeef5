"""Who somebody is that a provider vouches for: the account that they have here, or the one that is made for them.

A person is known by what the provider calls them for ever (its subject), never by an e-mail address, which can be given
to another person. An address matters once: a new account is made only for a verified one, and an account that is there
already is linked only when the operator allowed it and the provider itself says that the address is verified. Groups
follow the claim at each sign-in, both ways; nothing here makes an owner. Called by the console.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.audit.events import Action, Method
from freehold.audit.trail import Telling, written
from freehold.identity import accounts
from freehold.identity.providers import Options, options_of
from freehold.protocol.errors import Refused
from freehold.storage import groups, providers, users
from freehold.storage.engine import Database
from freehold.storage.providers import Provider

_MOST_GROUPS = 2000
_LONGEST = 300


async def arrive(database: Database, provider: Provider, claims: Mapping[str, Any]) -> users.User:
    """The account of who signs in with these verified claims, its groups brought up to date. Raises Refused 403."""
    try:
        return await _arrive(database, provider, claims)
    except IntegrityError:  # they arrived twice at the same moment: the other one made what is needed
        return await _arrive(database, provider, claims)


def subject_of(options: Options, claims: Mapping[str, Any]) -> str:
    """What the provider calls this person for ever. Raises Refused 403 when it does not say."""
    subject = claims.get(options.subject_claim)
    if not isinstance(subject, str) or not 1 <= len(subject) <= _LONGEST or not subject.isprintable():
        raise _refused("provider_claims", "The provider did not say who you are. Ask your administrator.")
    return subject


def groups_said(options: Options, claims: Mapping[str, Any]) -> frozenset[str]:
    """The ids of the groups that the claim stands for: a list of words or one word, at the claim or below its dots."""
    said: Any = claims.get(options.groups_claim)
    if said is None:
        said = claims
        for step in options.groups_claim.split("."):
            said = said.get(step) if isinstance(said, Mapping) else None
    words = said if isinstance(said, list) else [said]
    return frozenset(
        options.groups[word] for word in words[:_MOST_GROUPS] if isinstance(word, str) and word in options.groups
    )


async def _arrive(database: Database, provider: Provider, claims: Mapping[str, Any]) -> users.User:
    options = options_of(provider)
    subject = subject_of(options, claims)
    async with written(database) as (connection, tell):
        current = await providers.get(connection, provider.id)
        if current is None or current.disabled_at is not None:  # it went while the person was on the way
            raise _refused("provider_unknown", "There is no such sign-in provider.")
        user_id = await providers.user_of(connection, provider.id, subject)
        user = await users.get(connection, user_id) if user_id is not None else None
        if user is None:
            user, made = await _first_time(connection, provider, options, claims)
            await providers.link(connection, provider.id, subject, user.id)
            if made:
                tell(Action.PERSON_JOIN, actor=user.id, subject=user.id, other=provider.id, method=Method.OIDC)
            else:
                tell(Action.PROVIDER_CHANGE, actor=user.id, subject=provider.id, other=user.id)
        if user.disabled_at is not None:
            raise _refused("account_disabled", "Your account is disabled. Ask your administrator.")
        if user.role == "service":
            raise _refused("provider_no_account", "You have no account here. Ask your administrator.")
        await _put_into_groups(connection, tell, provider, user, groups_said(options, claims))
        return user


async def _first_time(
    connection: AsyncConnection, provider: Provider, options: Options, claims: Mapping[str, Any]
) -> tuple[users.User, bool]:
    """The account of who was never here, and whether it was made now."""
    email = _email(claims)
    says_verified = claims.get("email_verified") is True
    if email is None or not (says_verified or options.trust_email):
        raise _refused("provider_email_unverified", "The provider did not say that your e-mail address is verified.")
    domain = email.rpartition("@")[2].lower()
    if options.email_domains and domain not in options.email_domains:
        raise _refused("provider_email_domain", "Accounts of your e-mail domain are not let in here.")
    present = await users.by_email(connection, provider.workspace_id, email)
    if present is not None:
        if options.link_by_email and says_verified:
            return present, False
        raise _refused(
            "provider_email_taken",
            "There is an account with your e-mail address already. Sign in to it as before, or ask your administrator "
            "to link it.",
        )
    if not options.create or not await users.count(connection, provider.workspace_id):
        raise _refused("provider_no_account", "You have no account here. Ask your administrator.")
    name = _name(claims, email)
    return await users.create(connection, provider.workspace_id, name=name, email=email, role="member"), True


async def _put_into_groups(
    connection: AsyncConnection, tell: Telling, provider: Provider, user: users.User, wanted: frozenset[str]
) -> None:
    present = set(await providers.memberships(connection, provider.id, user.id))
    for group_id in sorted(present - wanted):
        if await groups.take_out(connection, group_id, user.id, provider.id):
            tell(Action.GROUP_LEAVE, actor=user.id, subject=user.id, other=group_id)
    for group_id in sorted(wanted - present):
        if await groups.add(connection, group_id, user.id, provider.id):
            tell(Action.GROUP_JOIN, actor=user.id, subject=user.id, other=group_id)


def _email(claims: Mapping[str, Any]) -> str | None:
    said = claims.get("email")
    try:
        return accounts.checked_email(said) if isinstance(said, str) and said.isascii() else None
    except Refused:
        return None


def _name(claims: Mapping[str, Any], email: str) -> str:
    for said in (claims.get("name"), claims.get("preferred_username")):
        if isinstance(said, str):
            try:
                return accounts.checked_name(said)
            except Refused:
                continue
    return email.partition("@")[0]


def _refused(code: str, text: str) -> Refused:
    return Refused(text, status=403, code=code)
