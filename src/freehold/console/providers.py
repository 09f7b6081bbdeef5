"""Signing in by a provider, and its word that somebody signed out: OpenID Connect, code flow with PKCE.

The way there is a redirect; what it must come back with (state, nonce, PKCE's verifier, which provider) is held here
for the browser that began it, so an answer in another browser, a second time, or from another provider is nothing.
Whatever goes wrong, the person lands on the sign-in page with a word from a fixed list. The session's cookie is Strict
and the way back begins at another site, so the last step is a small page of ours that leads on from our own origin.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from freehold.audit.events import Action
from freehold.audit.trail import current, written
from freehold.console.access import Declared, Visit
from freehold.console.outward import Keepsakes, Outward, provider_away
from freehold.console.place import site
from freehold.console.premises import Premises
from freehold.identity import federation, tokens
from freehold.identity import providers as identity
from freehold.identity.providers import Metadata, Options
from freehold.identity.sealing import Sealer
from freehold.protocol.errors import Refused, Unavailable
from freehold.protocol.json import parse_object
from freehold.storage import providers
from freehold.storage.providers import Provider

_PAGE = re.compile(r"/(?:chat(?:/[A-Za-z0-9_-]{1,64})?|settings|account|people)?")
_MOST_FORM = 16 << 10
_MOST_JTIS = 10_000
_BOUNCE = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Signed in</title>'
    '<meta http-equiv="refresh" content="0;url={page}"></head>'
    '<body><p><a href="{page}">Go on</a></p></body></html>'
)
_PROBLEMS = frozenset(
    {
        "account_disabled", "provider_away", "provider_claims", "provider_denied", "provider_email_domain",
        "provider_email_taken", "provider_email_unverified", "provider_no_account", "provider_unknown", "sign_in_again",
        "too_many_tries",
    }
)  # fmt: skip
"""The words that the sign-in page knows."""


@dataclass(frozen=True)
class _Crossing:
    """What a browser must come back with, where it goes then, and the session that it had: on the way back it does
    not show its cookie."""

    provider_id: str
    state: str
    nonce: str
    verifier: str
    redirect_uri: str
    page: str
    replaces: str | None


class Providers:
    """The handlers of sign-in by a provider."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._outward: Outward = premises.outward
        self._keepsakes: Keepsakes = premises.keepsakes
        self._sealer = Sealer(premises.key, identity.SEALED_FOR)
        self._jtis: OrderedDict[tuple[str, str], float] = OrderedDict()

    def routes(self) -> list[Declared]:
        """The routes with what each needs."""
        return [
            Declared("GET", "/sign-in/with/{provider}", "public", self.leave),
            Declared("GET", "/sign-in/back/{provider}", "public", self.back, Action.SESSION_OPEN),
            Declared("POST", "/sign-out/from/{provider}", "signed", self.signed_out_there, Action.PROVIDER_LOGOUT),
        ]

    # --- there
    async def leave(self, request: Request) -> Response:
        """Send the browser to the provider."""
        try:
            return await self._leave(request)
        except (Refused, Unavailable) as error:
            return _to_start(error)

    async def _leave(self, request: Request) -> Response:
        here = self._premises
        _only_get(request)
        here.knock(request)
        provider, metadata, options = await self._provider(request)
        wanted = request.query_params.get("to", "")
        crossing = _Crossing(
            provider.id,
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(32),
            secrets.token_urlsafe(48),
            f"{site(request, '').origin}/sign-in/back/{provider.name}",
            wanted if _PAGE.fullmatch(wanted) else "/",
            await here.present(request),
        )
        challenge = hashlib.sha256(crossing.verifier.encode()).digest()
        question = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": crossing.redirect_uri,
            "scope": " ".join(options.scopes),
            "state": crossing.state,
            "nonce": crossing.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        response = _redirect(_with_query(metadata.authorization_endpoint, question))
        here.crossings.begin(response, "provider", crossing)
        return response

    # --- and back
    async def back(self, request: Request) -> Response:
        """The provider sent the browser back: who is it?"""
        try:
            async with self._premises.witness.refusals(current()):
                response = await self._back(request)
        except (Refused, Unavailable) as error:
            response = _to_start(error)
        self._premises.crossings.end(request, response)
        return response

    async def _back(self, request: Request) -> Response:
        here = self._premises
        _only_get(request)
        here.knock(request)
        crossing: _Crossing | None = here.crossings.take(request, "provider")
        said = _once_each(request)
        if crossing is None or not hmac.compare_digest(said.get("state", "").encode(), crossing.state.encode()):
            raise _again()
        provider, metadata, options = await self._provider(request)
        told = said.get("iss") if "iss" in said or metadata.says_issuer else provider.issuer
        if provider.id != crossing.provider_id or told != provider.issuer:  # an answer of another provider (RFC 9207)
            raise _again()
        if "error" in said or not said.get("code"):
            raise Refused("The provider did not let you in.", status=403, code="provider_denied")
        claims, text = await self._claims(provider, metadata, options, crossing, said["code"])
        user = await federation.arrive(here.database, provider, claims)
        response = Response(_BOUNCE.format(page=crossing.page), media_type="text/html")
        sid = claims.get("sid")
        secret = await here.give_session(
            request,
            response,
            user,
            "oidc",
            replaces=crossing.replaces,
            provider_id=provider.id,
            external_session=sid if isinstance(sid, str) and 1 <= len(sid) <= 300 else None,
        )
        here.hints.keep(secret, text)
        return response

    async def _claims(
        self, provider: Provider, metadata: Metadata, options: Options, crossing: _Crossing, code: str
    ) -> tuple[dict[str, Any], str]:
        """Who the provider says it is, for a code: the ID token's claims and what only its userinfo says; the token."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": crossing.redirect_uri,
            "code_verifier": crossing.verifier,
        }
        headers: dict[str, str] = {}
        secret = self._secret(provider)
        if secret is None or metadata.token_auth != "client_secret_basic":  # noqa: S105 - the name of a method
            form["client_id"] = provider.client_id
        if secret is not None and metadata.token_auth == "client_secret_basic":  # noqa: S105
            pair = f"{quote(provider.client_id, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif secret is not None:
            form["client_secret"] = secret
        answer = _answered(await self._outward.post(metadata.token_endpoint, form, headers))
        access = answer.get("access_token")
        access = access if isinstance(access, str) and access.isascii() and access.isprintable() else None
        try:
            token = tokens.Token.read(answer["id_token"] if isinstance(answer.get("id_token"), str) else "")
            claims = tokens.identity_claims(
                token,
                await self._keys(provider, metadata, token),
                issuer=provider.issuer,
                client_id=provider.client_id,
                nonce=crossing.nonce,
                now=time.time(),
                access_token=access,
            )
        except tokens.TokenInvalid:
            raise _again() from None
        needed = {"email", "name", *([options.groups_claim.partition(".")[0]] if options.groups else [])}
        if not options.trust_email:
            needed.add("email_verified")
        if access is not None and metadata.userinfo_endpoint is not None and not needed <= claims.keys():
            bearer = {"authorization": f"Bearer {access}"}
            more = _answered(await self._outward.get(metadata.userinfo_endpoint, bearer))
            if more.get("sub") != claims["sub"]:
                raise _again()
            claims = _joined(claims, more)
        return claims, token.text

    # --- its word that somebody signed out
    async def signed_out_there(self, request: Request) -> Response:
        """Back-channel logout: end exactly the sessions that a logout token names. Raises Refused 401 for any other."""
        text = await _logout_token(request)
        try:
            provider, metadata, options = await self._provider(request)
            token = tokens.Token.read(text)
            claims = tokens.logout_claims(
                token,
                await self._keys(provider, metadata, token),
                issuer=provider.issuer,
                client_id=provider.client_id,
                now=time.time(),
            )
        except Refused:
            raise _not_signed() from None
        self._once(provider.id, claims)
        async with written(self._premises.database) as (connection, tell):
            user_id = None
            if "sub" in claims:
                subject = claims.get(options.subject_claim)
                user_id = (
                    await providers.user_of(connection, provider.id, subject) if isinstance(subject, str) else None
                )
                if user_id is None and "sid" not in claims:
                    return Response(status_code=200)
            ended = await providers.end_sessions(connection, provider.id, session=claims.get("sid"), user_id=user_id)
            if ended:
                tell(Action.PROVIDER_LOGOUT, subject=provider.id, other=user_id, count=ended)
        return Response(status_code=200)

    def _once(self, provider_id: str, claims: dict[str, Any]) -> None:
        """Raise Refused 401 when a logout token comes a second time."""
        now, name = time.time(), (provider_id, claims["jti"])
        while self._jtis and (next(iter(self._jtis.values())) < now or len(self._jtis) >= _MOST_JTIS):
            self._jtis.popitem(last=False)
        if name in self._jtis:
            raise _not_signed()
        self._jtis[name] = now + tokens.LONGEST + 2 * tokens.LEEWAY

    # --- common
    async def _provider(self, request: Request) -> tuple[Provider, Metadata, Options]:
        here = self._premises
        async with here.database.read() as connection:
            found = await providers.named(connection, here.workspace_id(request), request.path_params["provider"])
        metadata = identity.metadata_of(found) if found is not None and found.disabled_at is None else None
        if found is None or metadata is None:
            raise Refused("There is no such sign-in provider.", status=404, code="provider_unknown")
        return found, metadata, identity.options_of(found)

    async def _keys(self, provider: Provider, metadata: Metadata, token: tokens.Token) -> tokens.Keyring:
        """The provider's keys; looked at anew when the token names one that is not there."""
        ring = tokens.Keyring(metadata.keys)
        if token.key_id in ring:
            return ring
        fresh = identity.metadata_of(await self._keepsakes.look(provider))
        return tokens.Keyring(fresh.keys if fresh is not None else ())

    def _secret(self, provider: Provider) -> str | None:
        if provider.client_secret is None:
            return None
        plain = self._sealer.open(provider.client_secret, provider.id)
        if plain is None:
            raise provider_away()
        return plain.decode()


async def farewell(premises: Premises, visit: Visit) -> dict[str, object]:
    """Where somebody can sign out at their provider too, for a session that it opened: its title and address."""
    async with premises.database.read() as connection:
        provider = await providers.of_session(connection, visit.principal.credential_id)
    metadata = identity.metadata_of(provider) if provider is not None else None
    if provider is None or metadata is None or metadata.end_session_endpoint is None:
        return {}
    question = {"client_id": provider.client_id, "post_logout_redirect_uri": f"{site(visit.request, '').origin}/"}
    if (hint := premises.hints.take(visit.secret)) is not None:
        question["id_token_hint"] = hint
    address = _with_query(metadata.end_session_endpoint, question)
    return {"provider": {"title": provider.title, "address": address}}


async def offered(premises: Premises, workspace_id: str) -> list[dict[str, str]]:
    """The providers that people of a workspace can sign in by."""
    async with premises.database.read() as connection:
        listed = await providers.listed(connection, workspace_id, enabled=True)
    return [{"name": one.name, "title": one.title} for one in listed]


async def _logout_token(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_FORM:
            raise Refused("The request body is too large.", status=413, code="body_too_large")
    try:
        fields = parse_qsl(body.decode("ascii"), strict_parsing=True, max_num_fields=8)
    except ValueError:
        fields = []
    said = [value for name, value in fields if name == "logout_token"]
    if kind != "application/x-www-form-urlencoded" or len(said) != 1:
        raise _not_signed()
    return said[0]


def _answered(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body, max_depth=16)
    except Refused:
        raise provider_away() from None


def _joined(claims: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """The ID token's claims with what only userinfo says. An address and its being verified are one statement: never
    the one from here and the other from there."""
    whole = {**more, **claims}
    both = [one for one in (claims, more) if "email_verified" in one]
    stated = any(one.get("email") == whole.get("email") for one in both)
    whole["email_verified"] = stated and all(one["email_verified"] is True for one in both)
    return whole


def _once_each(request: Request) -> dict[str, str]:
    """The query's parameters. Raises Refused when one of them came twice."""
    found = request.query_params.multi_items()
    if len({name for name, _ in found}) != len(found):
        raise _again()
    return dict(found)


def _only_get(request: Request) -> None:
    if request.method != "GET":
        raise _again()


def _with_query(address: str, question: dict[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(question)}"


def _redirect(address: str) -> Response:
    response = RedirectResponse(address, 302)
    response.headers["cache-control"] = "no-store"
    return response


def _to_start(error: Refused | Unavailable) -> Response:
    code = error.code if error.code in _PROBLEMS else "provider_away"
    return _redirect(f"/?problem={code}")


def _again() -> Refused:
    return Refused("This sign-in is over. Begin again.", status=403, code="sign_in_again")


def _not_signed() -> Refused:
    return Refused("This is no logout token of a provider.", status=401, code="logout_token_invalid")
