"""The room's door: a text or a stream on its way in one direction, with a workspace's policy applied.

    guard = Guard(policy, book)                 # one for a workspace, kept until its policy or values change
    names = Pseudonyms()                        # one for a conversation's exchange
    outcome = guard.text("prompt", prompt, names)
    flow = guard.stream("answer", names)        # flow.feed(piece) … flow.finish()
    arguments = guard.json_stream("call", names)

`findings` tell class and place, never the text. A blocked text ends where the finding began, with a fixed notice;
`blocked` says so, and `refusal` is what a caller raises for a prompt. Pure: the gateway and the console call it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from freehold.guard.detector import Finding, Kind
from freehold.guard.engine import Engine, engine_for
from freehold.guard.exact import Book, Search
from freehold.guard.jsonflow import JsonFlow
from freehold.guard.lane import resolved
from freehold.guard.policy import CHANGING, Direction, Policy
from freehold.guard.pseudonyms import Pseudonyms, Restorer
from freehold.guard.scan import Part, Scanner
from freehold.protocol.errors import Refused

NOTICE = "[This text was ended here: it held data that may not be shown.]"


class Outcome(msgspec.Struct, frozen=True):
    """A whole text after the guard."""

    text: str
    findings: tuple[Finding, ...]
    blocked: bool


class Recognizer(Protocol):
    """A plug-in that finds what rules cannot, such as a model for names. Only for whole texts: it must see sentences.

    It gives findings of one text at a time, with the places of characters; it must not keep or send the text.
    """

    def recognize(self, text: str) -> Sequence[Finding]:
        """What is found in the text."""


class Guard:
    """A workspace's policy, ready. Engines are compiled when a direction is first used, or by `prepare`."""

    def __init__(self, policy: Policy, book: Book | None = None, recognizers: Sequence[Recognizer] = ()) -> None:
        self.policy = policy
        self._book = book if book is not None and book.shelves else None
        self._recognizers = tuple(recognizers)
        self._allowed = frozenset(" ".join(text.casefold().split()) for text in policy.allowed)
        self._engines: dict[Direction, Engine] = {}

    def prepare(self, directions: Sequence[Direction] = ("prompt", "answer")) -> None:
        """Compile, which takes a second or two: call it in a thread, before the first exchange."""
        for direction in directions:
            self._engine(direction)

    def stream(self, direction: Direction, pseudonyms: Pseudonyms | None = None, *, before: str = "") -> "Outflow":
        """A text that comes in pieces. `before`: what stands before it for whoever judges by context."""
        values = Search(self._book) if self._book is not None and self._values_matter(direction) else None
        scanner = Scanner(self._engine(direction), values, values_hold=self._values_hold(direction), before=before)
        restorer = Restorer(pseudonyms) if pseudonyms is not None and direction not in _INWARD else None
        unruled = frozenset(kind for kind in _VALUES if self.policy.rule(direction, kind).action == "allow")
        return Outflow(scanner, self._replacing(direction, pseudonyms), restorer, unruled)

    def json_stream(self, direction: Direction, pseudonyms: Pseudonyms | None = None) -> "JsonFlow":
        """JSON text that comes in pieces, such as a tool's arguments: each string by itself, and JSON comes out."""
        return JsonFlow(lambda before: self.stream(direction, pseudonyms, before=before))

    def json(self, direction: Direction, text: str, pseudonyms: Pseudonyms | None = None) -> Outcome:
        """A whole JSON text."""
        flow = self.json_stream(direction, pseudonyms)
        out = flow.feed(text) + flow.finish()
        return Outcome(out, tuple(flow.findings), flow.blocked)

    def text(
        self, direction: Direction, text: str, pseudonyms: Pseudonyms | None = None, *, before: str = ""
    ) -> Outcome:
        """A whole text. With recognizers, what they find is handled first."""
        extra = self._recognized(direction, text)
        if extra:
            text = self._apply(direction, text, extra, pseudonyms)
        flow = self.stream(direction, pseudonyms, before=before)
        out = flow.feed(text) + flow.finish()
        return Outcome(out, (*extra, *flow.findings), flow.blocked)

    def _engine(self, direction: Direction) -> Engine:
        engine = self._engines.get(direction)
        if engine is None:
            self._engines[direction] = engine = engine_for(*self.policy.detectors(direction))
        return engine

    def _values_matter(self, direction: Direction) -> bool:
        return any(self.policy.rule(direction, kind).action != "allow" for kind in _VALUES)

    def _values_hold(self, direction: Direction) -> bool:
        return any(self.policy.rule(direction, kind).action in CHANGING for kind in _VALUES)

    def _recognized(self, direction: Direction, text: str) -> list[Finding]:
        found = [finding for recognizer in self._recognizers for finding in recognizer.recognize(text)]
        rule = self.policy.rule
        return resolved(
            [
                finding
                for finding in found
                if 0 <= finding.start < finding.end <= len(text)
                and rule(direction, finding.kind).action != "allow"
                and finding.confidence >= rule(direction, finding.kind).sure
            ]
        )

    def _apply(
        self, direction: Direction, text: str, findings: Sequence[Finding], pseudonyms: Pseudonyms | None
    ) -> str:
        replace = self._replacing(direction, pseudonyms)
        parts, at = [], 0
        for finding in findings:
            replaced = replace(finding, text[finding.start : finding.end])
            parts += [text[at : finding.start], NOTICE if replaced is None else replaced]
            at = finding.end
        return "".join((*parts, text[at:]))

    def _replacing(self, direction: Direction, pseudonyms: Pseudonyms | None) -> "Replace":
        rule, allowed = self.policy.rule, self._allowed

        def replace(finding: Finding, text: str) -> str | None:
            action = rule(direction, finding.kind).action
            if action in ("allow", "flag") or (allowed and " ".join(text.casefold().split()) in allowed):
                return text
            if action == "block":
                return None
            if action == "pseudonymise" and pseudonyms is not None:
                return pseudonyms.of(finding.kind, text)
            return label(finding.kind)

        return replace


_VALUES: tuple[Kind, ...] = ("VALUE", "FOREIGN")
_INWARD = ("prompt", "result", "log")
Replace = Callable[[Finding, str], "str | None"]
"""What stands in the place of a finding; None: nothing may, the text ends."""


def label(kind: Kind) -> str:
    """What is shown in the place of a masked finding."""
    return "[VALUE]" if kind == "FOREIGN" else f"[{kind}]"


def refusal() -> Refused:
    """What a caller is told whose text was blocked."""
    return Refused(
        "The request holds data of a class that this workspace does not let through. Take it out and try again.",
        status=403,
        code="sensitive_data",
    )


class Outflow:
    """One stream through the guard."""

    def __init__(
        self,
        scanner: Scanner,
        replace: "Replace",
        restorer: Restorer | None = None,
        unruled: frozenset[Kind] = frozenset(),
    ) -> None:
        self._scanner = scanner
        self._replace = replace
        self._restorer = restorer
        self._unruled = unruled  # found because another class is looked for in the same way
        self._found: list[Finding] = []
        self._kept = False  # was the last finding's text left as it is? Then so is what continues it
        self.blocked = False

    @property
    def held(self) -> int:
        """How many characters are held back now."""
        return self._scanner.held + (self._restorer.held if self._restorer is not None else 0)

    @property
    def findings(self) -> list[Finding]:
        """What was found so far, in order."""
        return sorted((*self._found, *self._scanner.noticed))

    def feed(self, text: str) -> str:
        """What may go out after this piece."""
        if self.blocked:
            return ""
        return self._written(self._scanner.feed(text))

    def finish(self) -> str:
        """The rest. Call it once, also after a stream that broke, and leave its text out then."""
        out = "" if self.blocked else self._written(self._scanner.finish())
        return out + self._restorer.finish() if self._restorer is not None else out

    def _written(self, parts: Sequence[Part]) -> str:
        out = []
        for text, finding, continues in parts:
            if finding is None or finding.kind in self._unruled:
                out.append(text)
                continue
            if continues:
                out.append(text if self._kept else "")
                last = self._found[-1]
                self._found[-1] = msgspec.structs.replace(last, end=last.end + len(text))
                continue
            self._found.append(finding)
            replaced = self._replace(finding, text)
            if replaced is None:
                out.append(NOTICE)
                self.blocked = True
                break
            self._kept = replaced == text
            out.append(replaced)
        text = "".join(out)
        return text if self._restorer is None else self._restorer.feed(text)
