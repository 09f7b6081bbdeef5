"""What a workspace wants done with what is found: a rule for each direction and class, own patterns, word lists,
exceptions.

A stored policy holds only what departs from `DEFAULT`, so a better default reaches everybody. Closed and checked: an
unknown word is an error, and a pattern must be in the language of `pattern` and compile. Called by `passage`, the
command line and the console.
"""

import functools
import re
from typing import Annotated, Literal

import hyperscan as hs
import msgspec
import phonenumbers
from msgspec import Meta

from freehold.guard import pattern
from freehold.guard.detector import KINDS, Detector, Kind
from freehold.guard.detectors import built_in, contact
from freehold.guard.reading import read
from freehold.protocol.errors import Refused

Action = Literal["allow", "flag", "mask", "pseudonymise", "block"]
Direction = Literal["prompt", "answer", "call", "result", "name", "log"]
"""prompt: what people send. answer: what the model says. call, result: a tool's arguments and what it gave. name:
titles, file names, citations. log: whatever is written down."""

ACTIONS: tuple[Action, ...] = Action.__args__  # type: ignore[attr-defined]
DIRECTIONS: tuple[Direction, ...] = Direction.__args__  # type: ignore[attr-defined]
CHANGING = frozenset(("mask", "pseudonymise", "block"))

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Sure = Annotated[float, Meta(ge=0, le=1)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is done with a class; findings of less confidence than `sure` are left alone."""

    action: Action
    sure: Sure = 0.7


class OwnPattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An administrator's own: a pattern, or a list of words (found whole, in any case)."""

    name: Name
    pattern: Annotated[str, Meta(max_length=500)] = ""
    words: Annotated[tuple[Annotated[str, Meta(min_length=2, max_length=64)], ...], Meta(max_length=1000)] = ()
    caseless: bool = False

    def detector(self) -> Detector:
        """As a detector. Raises Refused when it is not in the language."""
        if bool(self.pattern) == bool(self.words):
            raise Refused("An own pattern has either a pattern or words.", code="invalid_pattern")
        if self.pattern:
            return Detector(self.name, "CUSTOM", (self.pattern,), 1.0, caseless=self.caseless)
        sources = tuple(rf"{_border(word[0])}{_literal(word)}{_border(word[-1])}" for word in self.words)
        return Detector(self.name, "CUSTOM", sources, 1.0, caseless=True)


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A workspace's policy: what departs from the default."""

    rules: dict[Direction, dict[Kind, Rule]] = {}
    patterns: Annotated[tuple[OwnPattern, ...], Meta(max_length=100)] = ()
    allowed: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...], Meta(max_length=1000)] = ()
    """Texts that are never found, such as the company's own telephone number; in any case."""
    phone_regions: Annotated[tuple[str, ...], Meta(max_length=20)] = contact.REGIONS

    def rule(self, direction: Direction, kind: Kind) -> Rule:
        """The rule that is in force."""
        own = self.rules.get(direction, {}).get(kind)
        return own if own is not None else DEFAULT[direction].get(kind, _ALLOW)

    def detectors(self, direction: Direction) -> tuple[tuple[Detector, ...], tuple[Detector, ...]]:
        """Those whose finding changes the text of a direction, and those that only take note."""
        holding: list[Detector] = []
        noting: list[Detector] = []
        for detector in (*_built_in(self.phone_regions), *_own(self.patterns)):
            rule = self.rule(direction, detector.kind)
            if rule.action == "allow" or detector.confidence < rule.sure:
                continue
            (holding if rule.action in CHANGING else noting).append(detector)
        return tuple(holding), tuple(noting)


_ALLOW = Rule("allow")
_SURE = 0.9

DEFAULT: dict[Direction, dict[Kind, Rule]] = {
    "prompt": {
        "SECRET": Rule("flag", 0.8),
        "CARD": Rule("flag", _SURE),
        "IBAN": Rule("flag", _SURE),
        "NATIONAL_ID": Rule("flag", _SURE),
        "PASSPORT": Rule("flag", _SURE),
        "LICENCE": Rule("flag", _SURE),
        "VALUE": Rule("flag"),
        "CUSTOM": Rule("flag"),
        "FOREIGN": Rule("flag"),
    },
    **{
        direction: {
            "SECRET": Rule("mask", _SURE),
            "CARD": Rule("mask", _SURE),
            "IBAN": Rule("mask", _SURE),
            "NATIONAL_ID": Rule("mask", _SURE),
            "PASSPORT": Rule("mask", _SURE),
            "LICENCE": Rule("mask", _SURE),
            "VALUE": Rule("mask"),
            "CUSTOM": Rule("mask"),
            "FOREIGN": Rule("block"),
        }
        for direction in ("answer", "call", "result", "name")
    },
    "log": {kind: Rule("mask", 0.6) for kind in KINDS},
}
"""What is done where a workspace says nothing: a usual chat is not disturbed. See docs/guard.md for the reasons."""


@functools.lru_cache(maxsize=64)
def _built_in(regions: tuple[str, ...]) -> tuple[Detector, ...]:
    return built_in(regions)


@functools.lru_cache(maxsize=256)
def _own(patterns: tuple[OwnPattern, ...]) -> tuple[Detector, ...]:
    return tuple(each.detector() for each in patterns)


def _border(char: str) -> str:
    return r"\b" if char.isascii() and (char.isalnum() or char == "_") else ""


def _literal(word: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in read(word))


def read_policy(text: bytes | str) -> Policy:
    """A policy out of JSON, checked. Raises Refused with a fixed text."""
    try:
        policy = msgspec.json.decode(text, type=Policy)
    except msgspec.ValidationError:
        raise Refused(
            "The policy has a member or a value that is not known. See docs/guard.md.", code="invalid_policy"
        ) from None
    except msgspec.DecodeError:
        raise Refused("The policy is not valid JSON.", code="invalid_policy") from None
    check(policy)
    return policy


def check(policy: Policy) -> None:
    """Raise Refused when a part of the policy cannot work."""
    names = [own.name for own in policy.patterns]
    if len(set(names)) != len(names):
        raise Refused("Two own patterns have the same name.", code="invalid_policy")
    if any(region not in phonenumbers.SUPPORTED_REGIONS for region in policy.phone_regions):
        raise Refused("A telephone region is not one of the two-letter codes that are known.", code="invalid_policy")
    for own in policy.patterns:
        for node in own.detector().nodes():
            source = pattern.render(node)
            if re.match(source, "") is not None or not _compiles(source):
                raise Refused("The pattern cannot be compiled; make it smaller.", code="invalid_pattern")


def _compiles(source: str) -> bool:
    database = hs.Database(mode=hs.HS_MODE_STREAM)
    try:
        database.compile(expressions=[source.encode()], ids=[0], elements=1, flags=[0])
    except hs.HyperscanError:
        return False
    return True
