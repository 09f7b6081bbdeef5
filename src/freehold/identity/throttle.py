"""How often somebody may try: a GCRA per key, in the console's memory. Asked before anything is looked up or hashed.

A key is what was typed or where it came from, never what was found: an account that does not exist is throttled as one
that does, so the answer tells nothing. Keys are kept as digests; when there are too many, the one that was used longest
ago is forgotten.
"""

import hashlib
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable

from freehold.protocol.errors import Refused

_MOST_KEYS = 100_000


class Throttle:
    """`burst` tries at once, then one each `every` seconds. `clock` is monotonic, in seconds."""

    def __init__(self, burst: int, every: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tolerance = (burst - 1) * every
        self._every = every
        self._clock = clock
        self._due: OrderedDict[bytes, float] = OrderedDict()

    def take(self, *parts: str) -> None:
        """Count one try of the key that the parts make. Raises Refused 429 with the seconds to wait."""
        key, due = self._look(parts)
        self._due[key] = due + self._every
        self._due.move_to_end(key)
        if len(self._due) > _MOST_KEYS:
            self._due.popitem(last=False)

    def check(self, *parts: str) -> None:
        """Raise Refused 429 when there is no try left, and count none: for what counts only when it fails."""
        self._look(parts)

    def _look(self, parts: tuple[str, ...]) -> tuple[bytes, float]:
        key = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()
        now = self._clock()
        due = max(self._due.get(key, now), now)
        if due - now > self._tolerance:
            raise Refused(
                "Too many tries. Wait a little, then try again.",
                status=429,
                code="too_many_tries",
                retry_after=due - now - self._tolerance,
            )
        return key, due


class Doors:
    """The throttles of sign-in: per account that is tried, and per address that tries."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = Throttle(10, 30, clock=clock)
        self._addresses = Throttle(100, 2, clock=clock)  # an office shares one address

    def knock(self, address: str, *account: str) -> None:
        """Count one try from an address, at an account if one is named. Raises Refused 429."""
        self._addresses.take(household(address))
        if account:
            self._accounts.take(*account)


def household(address: str) -> str:
    """What one subscriber has: an IPv4 address, an IPv6 /64."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    return str(found if found.version == 4 else ipaddress.ip_network((found, 64), strict=False))
