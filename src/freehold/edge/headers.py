"""Which headers pass the edge, in both directions. Everything that is not named here is dropped.

An allow-list must say "remove what is not one of these names", and Envoy's header mutation removes what matches a
regular expression; its RE2 has no negation. So `outside` writes the complement of a finite set of names as a plain
expression: a walk over the names' trie that says at each letter how a name may leave it. This costs no script.
"""

from collections.abc import Iterable

REQUEST = (
    "accept",
    "accept-language",
    "anthropic-beta",
    "anthropic-version",
    "api-key",
    "authorization",
    "content-length",
    "content-type",
    "cookie",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "last-event-id",
    "origin",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "x-api-key",
)
"""What a client may say to our processes."""

REFUSED_OVERRIDES = ("x-http-method", "x-http-method-override", "x-method-override")
"""Headers that ask a server to take another method than the one that was sent: such a request is refused."""

OWN = ("x-freehold-client", "x-freehold-host", "x-request-id")
"""What the edge itself says to our processes: the peer's address, the host that was asked for, the request's id."""

RESPONSE = (
    "allow",
    "cache-control",
    "clear-site-data",
    "content-disposition",
    "content-language",
    "content-length",
    "content-security-policy",
    "content-type",
    "cross-origin-embedder-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "etag",
    "last-modified",
    "location",
    "permissions-policy",
    "referrer-policy",
    "retry-after",
    "set-cookie",
    "strict-transport-security",
    "vary",
    "www-authenticate",
    "x-content-type-options",
    "x-frame-options",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
)
"""What our processes may say to a client."""

_DENIED_FEATURES = (
    "accelerometer",
    "autoplay",
    "browsing-topics",
    "camera",
    "display-capture",
    "encrypted-media",
    "fullscreen",
    "gamepad",
    "geolocation",
    "gyroscope",
    "hid",
    "idle-detection",
    "local-fonts",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "picture-in-picture",
    "screen-wake-lock",
    "serial",
    "usb",
    "xr-spatial-tracking",
)

SECURITY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "permissions-policy": ", ".join(f"{feature}=()" for feature in _DENIED_FEATURES),
}
"""Said on every response, whatever the process behind it said."""

UNLESS_SAID = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
}
"""Said on every response that does not say it itself."""

STRICT_TRANSPORT = "max-age=63072000"
"""Said for real domains only: browsers apply it to every port of a name, and `localhost` has other tenants."""


def outside(names: Iterable[str]) -> str:
    """A regular expression that matches a whole header name exactly when it is none of `names` (nor `host`, `:…`)."""
    trie: _Node = {}
    for name in sorted({*names, "host"}):
        node = trie
        for letter in name:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _leaving(trie, first=True)


_Node = dict[str, "_Node"]


def _leaving(node: _Node, *, first: bool = False) -> str:
    """Matches the rests of words that leave the trie at or below this node."""
    letters = sorted(letter for letter in node if letter)
    known = "".join(_in_class(letter) for letter in (*letters, ":") if first or letter != ":")
    ways = [f"[^{known}].*" if known else ".+"]
    ways += [_literal(letter) + _leaving(node[letter]) for letter in letters]
    if "" not in node and not first:
        ways.append("")
    return ways[0] if len(ways) == 1 else f"(?:{'|'.join(ways)})"


def _in_class(letter: str) -> str:
    return "\\" + letter if letter in "-]\\^" else letter


def _literal(letter: str) -> str:
    return letter if letter.isalnum() or letter == "-" else "\\" + letter
