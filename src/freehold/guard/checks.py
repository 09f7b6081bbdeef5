"""Is a candidate's text right? Check digits, entropy, dates, and what is plainly a stand-in. Called by the detectors.

The cheap checks are written out here, since hostile text asks for a hundred thousand of them; the rest is
python-stdnum's.
"""

import base64
import binascii
import functools
import ipaddress
import math
from collections import Counter
from collections.abc import Callable
from types import ModuleType

from freehold.protocol.ids import secret_kind

_DOUBLED = bytes(0 if not 48 <= at <= 57 else (at - 48) * 2 - 9 * (at > 52) for at in range(256))


def digits(text: str) -> str:
    """The digits alone."""
    return text if text.isdigit() else "".join([char for char in text if "0" <= char <= "9"])


def luhn(number: str) -> bool:
    """The check digit of cards, for digits alone."""
    plain = number.encode()
    odd = plain[-1::-2]
    return (sum(odd) - 48 * len(odd) + sum(plain[-2::-2].translate(_DOUBLED))) % 10 == 0


_ISSUERS: tuple[tuple[int, int, tuple[int, ...]], ...] = (  # first four digits from, to; lengths
    (4000, 4999, (13, 16, 18, 19)),  # Visa
    (5100, 5599, (16,)),  # Mastercard
    (2221, 2720, (16,)),
    (3400, 3499, (15,)),  # American Express
    (3700, 3799, (15,)),
    (3000, 3059, (14, 16)),  # Diners Club
    (3095, 3095, (14, 16)),
    (3600, 3699, (14, 16, 19)),
    (3800, 3999, (14, 16, 19)),
    (6011, 6011, (16, 19)),  # Discover
    (6400, 6599, (16, 19)),
    (3500, 3599, (16, 17, 18, 19)),  # JCB
    (1800, 1800, (15,)),
    (2131, 2131, (15,)),
    (6200, 6299, (16, 17, 18, 19)),  # UnionPay
    (8100, 8171, (16, 19)),
    (5000, 5099, (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, RuPay, Elo
    (5600, 5899, (12, 13, 14, 15, 16, 17, 18, 19)),
    (6000, 6099, (12, 13, 16, 19)),
    (6300, 6399, (12, 13, 16, 18, 19)),
    (6700, 6799, (12, 13, 14, 15, 16, 17, 18, 19)),
    (2200, 2204, (16, 19)),  # Mir
    (9792, 9792, (16,)),  # Troy
)


@functools.cache
def card_lengths(head: str) -> tuple[int, ...]:
    """How many digits a card has whose number begins with these four, the longest first; none: no issuer's."""
    value = int(head)
    return tuple(sorted({n for low, high, lengths in _ISSUERS if low <= value <= high for n in lengths}, reverse=True))


def entropy(text: str) -> float:
    """Shannon's, in bits a character."""
    counts, size = Counter(text).values(), len(text)
    return -sum(count / size * math.log2(count / size) for count in counts)


_STAND_INS = (
    "example",
    "placeholder",
    "changeme",
    "your",
    "xxxx",
    "****",
    "....",
    "1234567890abcdef",
    "abcdefghij",
    "dummy",
    "sample",
    "redacted",
    "insert",
    "<",
    "${",
    "{{",
    "%(",
    "process.env",
    "os.environ",
    "getenv",
)


def is_stand_in(text: str) -> bool:
    """Does it only show where a secret would be?"""
    lower = text.lower()
    return len(set(lower)) < 4 or any(word in lower for word in _STAND_INS)


def is_random(least: float) -> Callable[[str], bool]:
    """A check: at least so many bits a character, and no stand-in."""
    return lambda text: entropy(text) >= least and not is_stand_in(text)


def is_password(text: str) -> bool:
    """What somebody would set as a password: two kinds of characters or more, no stand-in, no plain word."""
    kinds = (
        any("a" <= c <= "z" for c in text)
        + any("A" <= c <= "Z" for c in text)
        + 2 * any("0" <= c <= "9" for c in text)
        + 2 * any(not c.isalnum() and c not in ".,;:!?'\"" for c in text)
    )
    code = any(mark in text for mark in ("()", "[", "->", "=>", "==", "::")) or text.startswith(("$", "self.", "@"))
    return kinds >= 3 and not is_stand_in(text) and not code


def is_own_secret(text: str) -> bool:
    """One of our own secrets, by its check value."""
    return secret_kind(text) is not None


def is_jwt(text: str) -> bool:
    """Does it begin as a JOSE header does?"""
    try:
        head = base64.urlsafe_b64decode(text[: len(text) // 4 * 4].replace(".", "")[:64] + "====")
    except (binascii.Error, ValueError):
        return False
    return any(name in head for name in (b'"alg"', b'"typ"', b'"kid"', b'"enc"', b'"cty"', b'"jku"'))


def is_address(text: str) -> bool:
    """An IPv4 or IPv6 address of a host: not the unspecified one, not the machine itself, not a mask."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.is_unspecified or text.startswith(("127.0.0.", "255.")) or text == "::1")


def is_date(year: int, month: int, day: int) -> bool:
    """A day of the calendar between 1900 and 2100."""
    if not (1 <= month <= 12 and day >= 1 and 1900 <= year <= 2100):
        return False
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return day <= (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]


def by(module: ModuleType) -> Callable[[str], bool]:
    """The check of a python-stdnum module."""
    valid: Callable[[str], bool] = module.is_valid

    def check(text: str) -> bool:
        try:
            return len(text) < 80 and bool(valid(text))
        except (KeyError, IndexError, ValueError, TypeError):  # some of its tables have holes that it stumbles into
            return False

    return functools.lru_cache(maxsize=1024)(check)
