"""Payment cards, bank accounts and crypto addresses: all with check digits."""

import stdnum.bitcoin
from stdnum.iso7064 import mod_97_10

from freehold.guard.checks import by, card_lengths, digits, luhn
from freehold.guard.detector import CONTEXT, Detector, Span, says

_IBAN_LENGTHS = {
    code: int(length)
    for length, codes in {
        "15": "NO",
        "16": "BE",
        "18": "DK FI FO GL NL SD",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU XK",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU",
        "31": "MT SC",
        "32": "LC",
        "33": "RU",
    }.items()
    for code in codes.split()
}


def _ibans(text: str, start: int, end: int) -> list[Span]:
    """The account number at the begin of the candidate, cut to its country's length."""
    wanted, plain = _IBAN_LENGTHS.get(text[start : start + 2].upper(), 0), ""
    for at in range(start, end):
        if text[at].isalnum():
            plain += text[at].upper()
        if wanted and len(plain) == wanted:
            whole = at + 1 == len(text) or not text[at + 1].isalnum()
            return [(start, at + 1)] if whole and mod_97_10.is_valid(plain[4:] + plain[:4]) else []
    return []


_CARD_WORDS = (
    *("card", "cards", "cc", "credit", "debit", "visa", "mastercard", "maestro", "amex", "unionpay", "pan", "billing"),
    *("karte", "kreditkarte", "carte", "tarjeta", "carta", "kaart"),
)  # other lengths are those of ids that many systems give


def _cards(text: str, start: int, end: int) -> list[Span]:
    """Cards in a run of digits and marks: a row of whole groups whose digits begin as an issuer's do, with Luhn's
    check."""
    places = [at for at in range(start, end) if text[at].isdigit()]
    number = "".join([text[at] for at in places])
    borders = [not at or places[at - 1] + 1 != place for at, place in enumerate(places)] + [True]
    found: list[Span] = []
    first, size = 0, len(number)
    while first <= size - 12:
        step = 1
        if borders[first]:
            for length in card_lengths(number[first : first + 4]):
                last = first + length
                if not (last <= size and borders[last] and luhn(number[first:last])):
                    continue
                usual = 14 <= length <= 16 or says(text[max(0, places[first] - CONTEXT) : places[first]], _CARD_WORDS)
                if usual and len(set(number[first:last])) > 1:
                    found.append((places[first], places[last - 1] + 1))
                    step = length
                    break
        first += step
    return found


def _is_ethereum(text: str) -> bool:
    return len(set(text.lower())) > 6


DETECTORS: tuple[Detector, ...] = (
    Detector(
        "card",
        "CARD",
        (
            r"\b\d{12,19}\b",
            r"\b\d{4}(?:[ .\-]{1,2}\d{4}){3}(?:[ .\-]\d{1,3})?\b",
            r"\b\d{4}[ .\-]\d{6}[ .\-]\d{4,5}\b",
            r"\b\d(?:[ \-]\d){11,18}\b",
        ),
        0.95,
        look=_cards,
    ),
    Detector(
        "card_code",
        "CARD",
        (
            (
                r"\b(?:cvv2?|cvc2?|cv2|security code|card verification(?: code)?)"
                r"[ :=#]{0,3}(?:is|code|number)?[ :=#]{0,3}\d{3,4}\b"
            ),
        ),
        0.8,
        caseless=True,
        inner=r"(?<!\d)(?P<v>\d{3,4})\b",
    ),
    Detector(
        "iban",
        "IBAN",
        (r"\b[A-Z]{2}\d{2}[A-Z0-9]{11,30}\b", r"\b[A-Z]{2}\d{2}(?:[ \-][A-Z0-9]{4}){2,7}(?:[ \-][A-Z0-9]{1,3})?\b"),
        0.97,
        caseless=True,
        look=_ibans,
    ),
    Detector(
        "bank_account",
        "IBAN",
        (
            (
                r"\b(?:account|acct|konto(?:nummer)?|routing|sort code|aba)(?: ?(?:number|no|nr|num|code|is))?"
                r"[ .:#=]{1,3}(?:is )?\d{2,4}(?:[ \-]?\d{2,8}){1,4}\b"
            ),
        ),
        0.7,
        caseless=True,
        inner=r"(?P<v>\d[\d \-]*\d)",
        check=lambda text: 6 <= len(digits(text)) <= 20,
    ),
    Detector(
        "bitcoin",
        "CRYPTO",
        (r"\b[13][1-9A-HJ-NP-Za-km-z]{25,34}\b", r"\bbc1[02-9ac-hj-np-z]{11,71}\b"),
        0.95,
        check=by(stdnum.bitcoin),
    ),
    Detector("ethereum", "CRYPTO", (r"\b0x[a-fA-F0-9]{40}\b",), 0.85, check=_is_ethereum),
)
