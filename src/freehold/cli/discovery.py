"""Asks a sign-in provider from the operator's own machine: its discovery document and keys, over verified TLS.

Used by `cli/provider.py` when a provider is declared or tested. It goes straight to the provider, follows no redirect
and uses no proxy, as the relay will: what works here works there.
"""

import http.client
import ssl
import urllib.error
import urllib.request
from typing import IO

import msgspec

from freehold.identity import providers as identity
from freehold.identity import tokens
from freehold.protocol.errors import Misconfigured, Problem

_SECONDS = 15.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def discover(issuer: str, ca: str | None) -> identity.Metadata:
    """What an issuer says of itself, its servers declared. Raises Misconfigured with what stands in the way."""
    identity.check_issuer(issuer)
    found = identity.read_discovery(issuer, _get(identity.discovery_url(issuer), ca))
    keys = identity.read_keys(_get(found.jwks_uri, ca))
    if not len(tokens.Keyring(keys)):
        raise Misconfigured(
            Problem(
                "the provider has no key that can be used",
                "It must sign with RSA (2048 bits or more), ECDSA or Ed25519, and each key must have an id of its own.",
            )
        )
    return identity.declared(issuer, msgspec.structs.replace(found, keys=keys))


def check_ca(text: str) -> str:
    """The text of a PEM file with certificate authorities. Raises Misconfigured when it holds none."""
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        raise Misconfigured(
            Problem("the --ca-file holds no certificates", "Give a PEM file with the certificate authorities.")
        ) from None
    return text


def _get(url: str, ca: str | None) -> bytes:
    context = ssl.create_default_context(cadata=ca) if ca else ssl.create_default_context()
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context), _NoRedirect()
    )
    request = urllib.request.Request(url, headers={"accept": "application/json"})  # noqa: S310 - checked: http(s) only
    try:
        with opener.open(request, timeout=_SECONDS) as answer:
            body: bytes = answer.read(identity.MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise _away(url, f"it answered {error.code}") from None
    except urllib.error.URLError as error:
        raise _away(url, str(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _away(url, type(error).__name__) from None
    if len(body) > identity.MOST_BYTES:
        raise _away(url, "its answer is too long")
    return body


def _away(url: str, why: str) -> Misconfigured:
    return Misconfigured(
        Problem(
            f"{url} cannot be read: {why}",
            "Check the issuer, this machine's way to it, and, for a CA of your own, --ca-file.",
        )
    )
