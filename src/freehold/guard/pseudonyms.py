"""Names for what must not be told: `<PERSON_1>` goes to the model, the name comes back to the person.

One map belongs to one conversation's exchange and lives in memory only. Numbers follow the order in which things were
found. `Restorer` puts the names back into a stream, also where a placeholder was cut between pieces, and where the
model changed its case, its underscore or its brackets; what is no known placeholder is left as it is. Called by
`passage`.
"""

import re

from freehold.guard import pattern
from freehold.guard.detector import KINDS, Kind

_LABELS = "|".join(sorted(KINDS, key=len, reverse=True))
_SOURCES = (
    (rf"(?:<|&lt;|\\<)\s?(?:{_LABELS})[ _\-\\]{{0,2}}\d{{1,4}}\s?(?:>|&gt;)", True),
    (rf"\b(?:{_LABELS})_\d{{1,4}}\b", False),
)
_NODES = [pattern.parse(source, caseless=caseless) for source, caseless in _SOURCES]
_WHOLE = re.compile("|".join(f"(?:{pattern.render(node)})" for node in _NODES), re.ASCII)
_BEGUN = re.compile(
    "|".join(rf"(?:{pattern.render(begun)})\Z" for node in _NODES if (begun := pattern.beginnings(node))), re.ASCII
)
_WIDEST = max(pattern.width(node) for node in _NODES)
_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
_MARKS = re.compile(r"(?i)&[lg]t;|[^A-Z_]", re.ASCII)


class Pseudonyms:
    """What stands for what, in one conversation."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[Kind, str], int] = {}
        self._texts: dict[tuple[str, int], str] = {}
        self._count: dict[Kind, int] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def of(self, kind: Kind, text: str) -> str:
        """The placeholder of this text: the same for the same text, in any case and spacing."""
        key = (kind, " ".join(text.casefold().split()))
        number = self._numbers.get(key)
        if number is None:
            self._count[kind] = self._numbers[key] = number = self._count.get(kind, 0) + 1
            self._texts[kind, number] = text
        return f"<{kind}_{number}>"

    def restored(self, text: str) -> str:
        """The text with every known placeholder replaced by what it stands for."""
        return _WHOLE.sub(self._restore, text) if self._texts else text

    def _restore(self, match: "re.Match[str]") -> str:
        written = match.group()
        number = _NUMBER.search(written)
        label = _MARKS.sub("", written).strip("_").upper()
        known = self._texts.get((label, int(number.group()))) if number else None
        return written if known is None else known


class Restorer:
    """Puts names back into a stream."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._pseudonyms = pseudonyms
        self._held = ""
        self._last = ""

    @property
    def held(self) -> int:
        """How many characters are held back now."""
        return len(self._held)

    def feed(self, text: str) -> str:
        """What may go out."""
        if not self._pseudonyms:
            return text
        text = self._last + self._held + text
        begun = _BEGUN.search(text, max(len(self._last), len(text) - _WIDEST))
        cut = begun.start() if begun else len(text)
        whole = next((m for m in _WHOLE.finditer(text, max(0, cut - _WIDEST)) if m.start() < cut < m.end()), None)
        cut = whole.start() if whole else cut
        self._held = text[cut:]
        return self._restored(text[:cut])

    def finish(self) -> str:
        """The rest."""
        held, self._held = self._held, ""
        return self._restored(self._last + held)

    def _restored(self, text: str) -> str:
        """`text` begins with the last character that went out, which tells whether a word begins after it."""
        out = self._pseudonyms.restored(text)[len(self._last) :]
        self._last = text[-1:]
        return out
