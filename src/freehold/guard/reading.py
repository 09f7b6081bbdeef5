"""Text as detectors read it: one byte a character, disguises taken off.

Look-alike letters (Cyrillic а, full-width Ａ, 𝐀), foreign digits, odd spaces and dashes become their ASCII character;
letters with marks lose the marks; invisible characters (zero-width, bidi, variation selectors, soft hyphens,
combining marks) are left out; tag characters become the ASCII that they hide. Other letters become one of three class
bytes. The mapping looks at one character at a time, so it does not depend on where a stream was cut. Findings are
told in places of the original text, which is what is replaced. Called by `scan` and `engine`.
"""

import unicodedata
from bisect import bisect_right

CAPITAL = 0xC0
"""Stands for a capital letter outside the Latin alphabet."""
SMALL = 0xE0
"""Stands for a small letter outside the Latin alphabet."""
OTHER_LETTER = 0xAA
"""Stands for a letter of a script without case."""
_SYMBOL = 0xA0

_ALIKE = str.maketrans(
    "АВЕЅІЈКМНОРСТУХЗаеѕіјорсухһԁѵԝΑΒΕΖΗΙΚΜΝΟΡΤΥΧοανıſɡɑ",
    "ABESIJKMHOPCTYX3aesijopcyxhdvwABEZHIKMNOPTYXoavisga",
)
_MARKS = {
    **dict.fromkeys("‘’‚‛′ʼ`´＇", "'"),
    **dict.fromkeys("“”„‟″«»＂", '"'),
    **dict.fromkeys("⁄∕⧸", "/"),
    **dict.fromkeys("。․·•", "."),
    "−": "-",
    "﹫": "@",
    "∶": ":",
    "꞉": ":",
}
_HIDDEN_LETTERS = frozenset((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0))


class _Table(dict[int, int | None]):
    """Code point → its byte, or None for what is not seen. Filled as characters come."""

    def __missing__(self, point: int) -> int | None:
        self[point] = found = _byte_of(point)
        if len(self) > 20_000:
            self.clear()
        return found


def _byte_of(point: int) -> int | None:
    if point < 128:
        return point
    if 0xE0020 <= point <= 0xE007E:
        return point - 0xE0000
    char = chr(point)
    category = unicodedata.category(char)
    if category in ("Cf", "Mn", "Me") or point in _HIDDEN_LETTERS:
        return None
    if char in _MARKS:
        return ord(_MARKS[char])
    if ord(alike := char.translate(_ALIKE)) < 128:
        return ord(alike)
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return 0x30 + digit
    if category in ("Zs", "Zl", "Zp") or point == 0x85:
        return 0x20
    if category == "Pd":
        return 0x2D
    plain = unicodedata.normalize("NFKC", char)
    if len(plain) == 1 and ord(plain) < 128:
        return ord(plain)
    if category[0] != "L":
        return _SYMBOL
    base = unicodedata.normalize("NFKD", char)[0]
    if ord(base) < 128:
        return ord(base)
    return {"Lu": CAPITAL, "Lt": CAPITAL, "Ll": SMALL}.get(category, OTHER_LETTER)


_table = _Table()


def read(text: str) -> bytes:
    """One byte for each visible character."""
    if text.isascii():
        return text.encode("ascii")
    return text.translate(_table).encode("latin-1")


def places(text: str) -> list[int] | None:
    """Where each byte of `read(text)` stands in `text`; None: at its own place, nothing is left out."""
    if text.isascii():
        return None
    seen = [at for at, char in enumerate(text) if _table[ord(char)] is not None]
    return None if len(seen) == len(text) else seen


class Reading:
    """A stream as bytes, and the way back from a byte's place to the character's. Feed pieces in order."""

    def __init__(self) -> None:
        self.end = 0
        """Characters so far."""
        self.length = 0
        """Bytes so far."""
        self._from: list[int] = [0]  # from this byte on …
        self._missing: list[int] = [0]  # … so many characters before it were left out

    @property
    def plain(self) -> bool:
        """Was nothing left out so far?"""
        return self.end == self.length

    def feed(self, text: str) -> bytes:
        """The bytes of the next piece."""
        seen = read(text)
        if len(seen) != len(text) or self.end - self.length != self._missing[-1]:
            self._remember(text)
        self.end += len(text)
        self.length += len(seen)
        return seen

    def place(self, byte: int) -> int:
        """The character that a byte stands for, for bytes of the last 4,096 or later."""
        if len(self._from) == 1:
            return byte + self._missing[0]
        return byte + self._missing[bisect_right(self._from, byte) - 1]

    def forget(self, byte: int) -> None:
        """Nothing before this byte will be asked for."""
        old = bisect_right(self._from, byte) - 1
        if old > 64:
            del self._from[:old], self._missing[:old]

    def _remember(self, text: str) -> None:
        byte, missing = self.length, self.end - self.length
        for char in text:
            if _table[ord(char)] is None:
                missing += 1
                continue
            if missing != self._missing[-1]:
                self._from.append(byte)
                self._missing.append(missing)
            byte += 1
