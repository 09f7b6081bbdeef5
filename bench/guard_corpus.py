"""Text for `bench.guard`: prose, hostile shapes, and labelled sentences with real check digits.

The sentences' templates and the shapes of secrets are split: detectors may be corrected while looking at the even
ones (`held_out=False`); what is measured are the odd ones. The sentences without anything in them are the same in
both. Nothing here is anybody's data: every number is drawn, then given its check digits.
"""

import base64
import json
import random
import string
from collections.abc import Callable

from stdnum import luhn, verhoeff
from stdnum.iso7064 import mod_97_10

Span = tuple[int, int, str]
KINDS = ("SECRET", "CARD", "IBAN", "NATIONAL_ID", "EMAIL", "PHONE", "IP", "MAC", "CRYPTO")

_WORDS = """
    the of and to in is that for it as was with be by on not he his but at are this have from or had an they which
    one you were all her she there would their we him been has when who will no more if out so up said what its
    about than into them can only other time new some could these two may first then do any like my now over such
    our man me even most made after house contract garden window report season number machine service office river
    market question answer team member plan release version database cluster index token stream policy guard
    reader writer letter answerable careful quiet yellow
""".split()  # noqa: SIM905


def prose(size: int) -> str:
    """Sentences of common words with a capital, a comma, a number now and then."""
    rng = random.Random(11)
    parts: list[str] = []
    length = 0
    while length < size:
        words = [rng.choice(_WORDS) for _ in range(rng.randint(6, 18))]
        if rng.random() < 0.15:
            words[rng.randrange(len(words))] = str(rng.choice((rng.randint(2, 99), rng.randint(1990, 2026))))
        if rng.random() < 0.3:
            words[len(words) // 2] += ","
        sentence = " ".join(words).capitalize() + rng.choice(".....?!") + rng.choice(("  ", " ", " ", "\n\n"))
        parts.append(sentence)
        length += len(sentence)
    return "".join(parts)[:size]


def hostile(size: int) -> dict[str, str]:
    """Shapes that are dear for scanners, each of about so many characters."""
    rng = random.Random(5)

    def many(make: Callable[[], str]) -> str:
        parts, length = [], 0
        while length < size:
            parts.append(make())
            length += len(parts[-1])
        return "".join(parts)[:size]

    return {
        "digits": "1" * size,
        "digits apart": "1 " * (size // 2),
        "numbers of eleven digits": many(lambda: f"{rng.randrange(10**11):011} "),
        "card-like groups": many(lambda: f"4{rng.randrange(1000):03} {rng.randrange(10**4):04} "),
        "telephone-like numbers": many(lambda: f"+49 30 {rng.randrange(10**7):07} "),
        "addresses that begin": "a@" * (size // 2),
        "assignments": "password=" * (size // 9),
        "token beginnings": "eyJ" * (size // 3),
        "capitalised words": many(lambda: rng.choice(("John ", "Smith ", "Anna ", "Müller "))),
        "invisible characters": "1\u200b" * (size // 2),
        "nested encodings": many(lambda: base64.b64encode(base64.b64encode(rng.randbytes(90))).decode()),
        "one letter": "a" * size,
    }


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice(string.digits) for _ in range(count))


def _letters(rng: random.Random, count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(rng.choice(alphabet) for _ in range(count))


def _card(rng: random.Random) -> str:
    head, size = rng.choice(
        (
            ("4", 16),
            ("51", 16),
            ("55", 16),
            ("2221", 16),
            ("34", 15),
            ("37", 15),
            ("6011", 16),
            ("3528", 16),
            ("36", 14),
        )
    )
    number = head + _digits(rng, size - len(head) - 1)
    number += luhn.calc_check_digit(number)
    if size == 16 and rng.random() < 0.4:
        return rng.choice(" -").join(number[at : at + 4] for at in range(0, 16, 4))
    if size == 15 and rng.random() < 0.4:
        return f"{number[:4]} {number[4:10]} {number[10:]}"
    return number


_IBANS = {
    "DE": "{18d}",
    "FR": "{10d}{11a}{2d}",
    "GB": "{4A}{14d}",
    "NL": "{4A}{10d}",
    "ES": "{20d}",
    "IT": "{1A}{10d}{12a}",
    "CH": "{5d}{12a}",
    "PL": "{24d}",
    "SE": "{20d}",
    "NO": "{11d}",
}


def _iban(rng: random.Random) -> str:
    country = rng.choice(sorted(_IBANS))
    body = ""
    for part in _IBANS[country].strip("{}").split("}{"):
        count, kind = int(part[:-1]), part[-1]
        body += (
            _digits(rng, count)
            if kind == "d"
            else _letters(rng, count, string.ascii_uppercase + ("" if kind == "A" else string.digits))
        )
    check = mod_97_10.calc_check_digits(body + country)
    plain = f"{country}{check}{body}"
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4)) if rng.random() < 0.5 else plain


def _day(rng: random.Random) -> tuple[int, int, int]:
    return rng.randint(40, 99), rng.randint(1, 12), rng.randint(1, 28)


def _weighted(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))


def _national(rng: random.Random) -> tuple[str, str]:
    """(what it is called, a number): of twelve countries, made without the library that checks them."""
    year, month, day = _day(rng)
    kind = rng.randrange(12)
    if kind == 0:
        return "SSN", f"{rng.randint(100, 665):03}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}"
    if kind == 1:
        number = rng.randint(10**7, 10**8 - 1)
        return "DNI", f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[number % 23]}"
    if kind == 2:
        digits = _digits(rng, 9)
        first = _weighted(digits, tuple(range(10, 1, -1))) * 10 % 11 % 10
        second = _weighted(digits + str(first), tuple(range(11, 1, -1))) * 10 % 11 % 10
        return "CPF", f"{digits[:3]}.{digits[3:6]}.{digits[6:]}-{first}{second}"
    if kind == 3:
        head = f"{year:02}{month:02}{day:02}{_digits(rng, 4)}"
        return "PESEL", head + str(-_weighted(head, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)
    if kind == 4:
        serial = rng.randint(2, 899)
        number = int(f"{day:02}{month:02}{year:02}{serial:03}")
        return "hetu", f"{day:02}{month:02}{year:02}-{serial:03}{'0123456789ABCDEFHJKLMNPRSTUVWXY'[number % 31]}"
    if kind == 5:
        head = f"{year:02}{month:02}{day:02}{rng.randint(100, 999)}"
        return "personnummer", f"{head[:6]}-{head[6:]}{luhn.calc_check_digit(head)}"
    if kind == 6:
        letters = _letters(rng, 2, "ABCEHJLMPRSTWXY")
        return "National Insurance number", f"{letters}{_digits(rng, 6)}{rng.choice('ABCD')}"
    if kind == 7:
        body = f"{rng.choice((1, 2))}{year:02}{month:02}{rng.randint(1, 95):02}{_digits(rng, 6)}"
        return "NIR", f"{body}{97 - int(body) % 97:02}"
    if kind == 8:
        body = str(rng.randint(2, 9)) + _digits(rng, 10)
        body += verhoeff.calc_check_digit(body)
        return "Aadhaar", f"{body[:4]} {body[4:8]} {body[8:]}"
    if kind == 9:
        head = f"{year:02}{month:02}{day:02}{rng.randint(1, 997):03}"
        return "rijksregisternummer", f"{head[:2]}.{head[2:4]}.{head[4:6]}-{head[6:]}.{97 - int(head) % 97:02}"
    if kind == 10:
        while True:
            digits = str(rng.randint(1, 9)) + _digits(rng, 7)
            check = _weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
            if check < 10:
                return "BSN", f"{digits}{check}"
    head = f"756{_digits(rng, 9)}"
    head += str(-_weighted(head, (1, 3) * 6) % 10)
    return "AHV", f"{head[:3]}.{head[3:7]}.{head[7:11]}.{head[11:]}"


def _base58check(rng: random.Random) -> str:
    import hashlib

    payload = b"\0" + rng.randbytes(20)
    whole = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    value, text = int.from_bytes(whole, "big"), ""
    while value:
        value, rest = divmod(value, 58)
        text = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"[rest] + text
    zeros = len(whole) - len(whole.lstrip(b"\0"))
    return "1" * zeros + text


def _jwt(rng: random.Random) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    claims = {"sub": _letters(rng, 12), "iat": rng.randrange(10**9)}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{_letters(rng, 43)}"


def _key(rng: random.Random) -> str:
    body = "\n".join(_letters(rng, 64, string.ascii_letters + string.digits + "+/") for _ in range(rng.randint(3, 12)))
    kind = rng.choice(("RSA ", "EC ", "OPENSSH ", ""))
    return f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----"


_HEX = "0123456789abcdef"
_SECRETS: tuple[Callable[[random.Random], str], ...] = (
    lambda r: "AKIA" + _letters(r, 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    lambda r: "ghp_" + _letters(r, 36),
    lambda r: "github_pat_" + _letters(r, 22) + "_" + _letters(r, 59),
    lambda r: "glpat-" + _letters(r, 20),
    lambda r: f"xoxb-{_digits(r, 12)}-{_digits(r, 12)}-{_letters(r, 24)}",
    lambda r: "sk_live_" + _letters(r, 24),
    lambda r: "AIza" + _letters(r, 35, string.ascii_letters + string.digits + "_-"),
    lambda r: f"SG.{_letters(r, 22)}.{_letters(r, 43)}",
    lambda r: "sk-proj-" + _letters(r, 48),
    lambda r: "sk-ant-api03-" + _letters(r, 93) + "AA",
    lambda r: "hf_" + _letters(r, 34, string.ascii_letters),
    lambda r: "npm_" + _letters(r, 36),
    lambda r: "dop_v1_" + _letters(r, 64, _HEX),
    lambda r: f"{_digits(r, 9)}:AA{_letters(r, 33)}",
    lambda r: "shpat_" + _letters(r, 32, _HEX),
    lambda r: "dapi" + _letters(r, 32, _HEX),
    lambda r: "hvs." + _letters(r, 90),
    lambda r: "gsk_" + _letters(r, 52),
    _jwt,
    _key,
)

_ASSIGNED = (
    'password = "{}"',
    "DB_PASSWORD={}",
    '"api_key": "{}"',
    "client_secret: {}",
    "export AUTH_TOKEN='{}'",
    "--password={} --user bob",
)


def _phone(rng: random.Random) -> str:
    forms = (
        *("+1 {3}-555-{4}", "+44 20 {4} {4}", "+49 30 {7}", "+33 1 {2} {2} {2} {2}"),
        *("({3}) 555-{4}", "{3}-555-{4}", "+41 44 {3} {2} {2}", "+31 20 {3} {4}"),
    )
    text = rng.choice(forms)
    for size in "2347":
        while f"{{{size}}}" in text:
            first = rng.choice("23456789")
            text = text.replace(f"{{{size}}}", first + _digits(rng, int(size) - 1), 1)
    return text


def _email(rng: random.Random) -> str:
    first, second, host = (_letters(rng, size, string.ascii_lowercase) for size in (rng.randint(3, 9), 4, 7))
    mark, ending = rng.choice((".", "_", "", "+x")), rng.choice(("com", "org", "de", "co.uk", "io"))
    return f"{first}{mark}{second}@{host}.{ending}"


def _ip(rng: random.Random) -> str:
    if rng.random() < 0.3:
        return ":".join(f"{rng.randrange(1, 65536):x}" for _ in range(8))
    return ".".join(str(rng.randint(1, 254)) for _ in range(4))


_TEMPLATES = {
    "SECRET": (
        "The deploy used {} last night.",
        "export KEY={}\nmake run",
        "it printed {} and stopped",
        '{{"value": "{}"}}',
        "see `{}` in the log",
        "{}",
    ),
    "CARD": (
        "She paid with {} on Friday.",
        "card: {}, thanks",
        "The terminal shows {}.",
        "| Bob | {} | ok |",
        "({}) was declined",
        "number {}",
    ),
    "IBAN": (
        "Please send it to {} today.",
        "IBAN: {}",
        "account {} at the bank",
        "from {}, to the other",
        "{} is mine",
        "bank;{};EUR",
    ),
    "EMAIL": ("Write to {}, please.", "<{}>", "mail {} or come by", "from:{}", "[{}](mailto)", "contact {}."),
    "PHONE": (
        "Call me at {} tomorrow.",
        "phone: {}",
        "my mobile is {}, thanks",
        "Tel. {}",
        "reach us under {}!",
        "fax {}",
    ),
    "IP": (
        "The host {} is down.",
        "ping {}",
        "from {} to the gateway",
        "address={};",
        "allow {} only",
        "peer {}, closed",
    ),
    "MAC": ("The card has {} printed on it.", "mac {}", "link/ether {} brd", "host {} joined", "({})", "device {}."),
    "CRYPTO": (
        "Send the coins to {}.",
        "wallet {}",
        "paid from {}, confirmed",
        "address: {}",
        "{} has no funds",
        "to={}",
    ),
}

_CLEAN = (
    "Order {8} was shipped on 2024-05-17 at 12:30:45.",
    "The build took {4} seconds and used {3} MB.",
    "Version 10.{1}.{2} fixes issue #{5}.",
    "In 19{2} the company had {4} members and {6} readers.",
    "commit {h} changed {2} files",
    "uuid {u} was created",
    "pi is 3.14159265358979 and e is 2.718281828459045",
    "See pages {3}-{3}, chapter {1}.{1}.",
    "The part number is {3}-{2}-{5}, the invoice {7}.",
    "set max_tokens = 4096 and temperature = 0.7",
    "password: the field is required",
    "The token was invalid, so the secret is kept.",
    "const apiKey = process.env.API_KEY;",
    "api_key: <your key here>",
    "tracking {10}, reference {12}",
    "sha256 {x}",
    "The meeting is on 12/05/2024 from 10:00 to 11:30.",
    "Bread costs 3.50, milk 1.20, together 4.70.",
)


def _clean(rng: random.Random) -> str:
    text = rng.choice(_CLEAN)
    for size in ("10", "12", *"12345678"):
        while f"{{{size}}}" in text:
            text = text.replace(f"{{{size}}}", _digits(rng, int(size)), 1)
    u = "-".join((_letters(rng, 8, _HEX), "4d1e", f"4{_letters(rng, 3, _HEX)}", "a7b0", _letters(rng, 12, _HEX)))
    return text.replace("{h}", _letters(rng, 40, _HEX)).replace("{u}", u).replace("{x}", _letters(rng, 64, _HEX))


def _make(rng: random.Random, kind: str, held_out: bool) -> tuple[str, list[Span]]:
    if kind == "SECRET" and rng.random() < 0.3:
        forms = _ASSIGNED[1::2] if held_out else _ASSIGNED[::2]
        value = _letters(rng, rng.randint(12, 28), string.ascii_letters + string.digits + "!#%+") + rng.choice("3$8")
        return _placed(rng.choice(forms), value, kind)
    makers: dict[str, Callable[[random.Random], str]] = {
        "SECRET": lambda r: r.choice(_SECRETS[1::2] if held_out else _SECRETS[::2])(r),
        "CARD": _card,
        "IBAN": _iban,
        "EMAIL": _email,
        "PHONE": _phone,
        "IP": _ip,
        "MAC": lambda r: ":".join(f"{r.randrange(256):02x}" for _ in range(6)),
        "CRYPTO": _base58check,
    }
    if kind == "NATIONAL_ID":
        name, number = _national(rng)
        named = ("My {name} is {}.", "{name}: {}", "The {name} {} was checked.", "{name} no. {}, valid")
        return _placed(rng.choice(named[1::2] if held_out else named[::2]).replace("{name}", name), number, kind)
    templates = _TEMPLATES[kind]
    return _placed(rng.choice(templates[1::2] if held_out else templates[::2]), makers[kind](rng), kind)


def _placed(template: str, value: str, kind: str) -> tuple[str, list[Span]]:
    template = template.replace("{{", "\x01").replace("}}", "\x02")
    before, _, after = template.partition("{}")
    start = len(before)
    text = f"{before}{value}{after}".replace("\x01", "{").replace("\x02", "}")
    return text, [(start, start + len(value), kind)]


def labelled(rng: random.Random, count: int, *, held_out: bool = True) -> list[tuple[str, list[Span]]]:
    """Sentences with what is in them; a third have nothing."""
    made: list[tuple[str, list[Span]]] = []
    for at in range(count):
        if at % 3 == 0:
            made.append((_clean(rng), []))
        else:
            made.append(_make(rng, rng.choice(KINDS), held_out))
    return made


def registered_value(rng: random.Random) -> str:
    """A name or an account number, as a workspace registers."""
    if rng.random() < 0.5:
        return _digits(rng, rng.randint(8, 14))
    first, last = (_letters(rng, rng.randint(3, 8), string.ascii_lowercase).capitalize() for _ in range(2))
    return f"{first} {last}"
