"""How a person or a machine is reached: e-mail, telephone, IP and MAC addresses.

A telephone number is judged by phonenumbers for the regions that the policy names. Written with its country it stands
alone, as does a form that only telephone numbers have; any other row of digits needs a word such as "call" before it.
"""

import functools
import re

import phonenumbers

from freehold.guard.checks import digits, is_address, is_date
from freehold.guard.detector import Detector, Span, says

REGIONS = ("US", "GB", "DE", "FR", "IT", "ES", "NL", "CH", "AT", "SE")
"""Regions whose national forms are known when the policy names none."""

_NEAR = (
    "phone", "telephone", "tel", "mobile", "cell", "cellphone", "fax", "call", "call me", "calling", "whatsapp",
    "sms", "text me", "texts", "messages to", "answering at", "reach me", "reach", "desk", "dial", "hotline",
    "landline", "registered", "telefon", "handy", "mobil", "telefono", "movil", "portable", "telefoon", "rufnummer",
    "phone number", "telefonnummer",
)  # fmt: skip
_NEAR_BY = 40
_CODES = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
_STRICT = re.compile(
    r"(?<![\d.\-])(?:1[ .\-])?(?:\(\d{3}\) ?|\d{3}[.\- ])\d{3}[.\-]\d{4}(?:\s?(?:x|ext\.?)\s?\d{1,5})?(?![\d\-])"
)
_ZERO = re.compile(r"(?<![\d.\-+])\(?0[1-9]\d{0,3}\)?[ .\-/]\d{2,5}(?:[ ./]\d{2,5}){1,4}(?![\d\-])")
_PLUS = re.compile(r"(?<!\d)(?:\+|00)[1-9](?:[ ().\-/]{0,2}\d){6,14}(?!\d)(?: ?(?:x|ext\.?) ?\d{1,5})?")
_ANY = re.compile(r"(?<![\d.])\(?\d{1,5}\)?(?:[ .\-/]{0,2}\(?\d{1,7}\)?){1,6}(?!\d)")
_DATE = re.compile(r"(?:19|20)\d\d[.\-/]\d\d[.\-/]\d\d|\d{1,2}[.\-/]\d{1,2}[.\-/](?:19|20)\d\d")
_VERSION = re.compile(r"(?i)(?:\bv|\bversion|\brelease|\bbuild|section|chapter|§)[\s.]{0,2}$")


def _phones(regions: tuple[str, ...], text: str, start: int, end: int) -> list[Span]:
    if end - start < 200 and not len(digits(text[start:end])) >= 7:
        return []
    found = [match.span() for match in _PLUS.finditer(text, start, end) if _possible(match.group())]
    if not found:
        found = [match.span() for match in _STRICT.finditer(text, start, end)]
    if not found:
        found = [match.span() for match in _ZERO.finditer(text, start, end) if _valid(match.group(), regions)]
    if not found and says(text[max(0, start - _NEAR_BY) : start], _NEAR):
        found = [match.span() for match in _ANY.finditer(text, start, end) if _plausible(match.group())]
    return [_balanced(text, span) for span in found]


def _plausible(text: str) -> bool:
    return 7 <= len(digits(text)) <= 15 and _DATE.match(text) is None


def _balanced(text: str, span: Span) -> Span:
    start, end = span
    if text[start] == "(" and ")" not in text[start:end]:
        start += 1
    if text[end - 1] == ")" and "(" not in text[start:end]:
        end -= 1
    return start, end


def _possible(text: str) -> bool:
    """Does it begin with a country's calling code, and has it a length that numbers have?"""
    number = digits(text.replace("(0)", ""))
    number = number[2:] if text.startswith("00") else number
    return 8 <= len(number) <= 15 and any(int(number[:size]) in _CODES for size in (1, 2, 3))


def _valid(text: str, regions: tuple[str, ...]) -> bool:
    """Is it a number of one of the regions, as it is dialled there?"""
    number = digits(text)
    return 9 <= len(number) <= 12 and not _DATE.search(text) and _national(regions).fullmatch(number) is not None


@functools.cache
def _national(regions: tuple[str, ...]) -> re.Pattern[str]:
    """All numbers of the regions: what phonenumbers knows of them as one expression, since parsing takes 50 µs each."""
    forms = []
    for region in regions:
        metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
        if metadata is not None and metadata.general_desc is not None:
            prefix = f"(?:{metadata.national_prefix})?" if metadata.national_prefix else ""
            forms.append(f"{prefix}(?:{metadata.general_desc.national_number_pattern})")
    return re.compile("|".join(forms) or r"(?!)", re.ASCII)


def _internet_addresses(text: str, start: int, end: int) -> list[Span]:
    if not is_address(text[start:end]) or _VERSION.search(text, max(0, start - 12), start):
        return []
    return [(start, end)]


def is_plain_date(text: str) -> bool:
    """Is it a date of eight digits with marks?"""
    parts = [int(part) for part in re.split(r"\D+", text) if part]
    return len(parts) == 3 and (is_date(*parts) or is_date(parts[2], parts[1], parts[0]))


@functools.cache
def detectors(regions: tuple[str, ...] = REGIONS) -> tuple[Detector, ...]:
    """The detectors, for these telephone regions."""
    return (
        Detector(
            "email",
            "EMAIL",
            (r"\b[A-Za-z0-9][A-Za-z0-9._%+\-]{0,63}@[A-Za-z0-9][A-Za-z0-9.\-]{0,90}\.[A-Za-z]{2,24}\b",),
            0.95,
            check=lambda text: ".." not in text and "-." not in text,
        ),
        Detector(
            "phone",
            "PHONE",
            (
                r"(?:\+|\b00)[1-9](?:[ ().\-/]{0,2}\d){6,14}(?: ?(?:x|ext\.?) ?\d{1,5})?\b",
                r"(?:\b1[ .\-])?(?:\(\d{3}\) ?|\b\d{3}[.\- ])\d{3}[.\-]\d{4}(?: ?(?:x|ext\.?) ?\d{1,5})?\b",
                r"\(?\b\d{1,5}\)?(?:[ .\-/]{1,2}\d{2,7}){1,5}\b",
                r"\(\d{2,5}\)[ .\-/]{0,2}\d{3,8}\b",
                r"\b\d{7,13}\b",
            ),
            0.7,
            look=functools.partial(_phones, regions),
        ),
        Detector("ipv4", "IP", (r"\b(?:\d{1,3}\.){3}\d{1,3}\b",), 0.9, look=_internet_addresses),
        Detector(
            "ipv6",
            "IP",
            (r"\b[0-9A-Fa-f]{1,4}(?::[0-9A-Fa-f]{0,4}){2,7}\b",),
            0.9,
            check=lambda text: text.count(":") > 3 and is_address(text),
        ),
        Detector(
            "mac",
            "MAC",
            (r"\b[0-9A-Fa-f]{2}(?:[:\-][0-9A-Fa-f]{2}){5}\b", r"\b[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b"),
            0.92,
            check=lambda text: len(set(digits(text) + text.lower())) > 3,
        ),
    )
