"""Who somebody is and where they live, as far as rules carry: names, street addresses, days of birth, ages.

A name is known by what stands before it (a title, "my name is", "Dear") or by a common given name; two capitalised
words in a row are a guess, told with a confidence that a policy must ask for. What rules do not see is said in
docs/guard.md.
"""

import re

from freehold.guard.detector import Detector, Span
from freehold.guard.detectors.contact import is_plain_date
from freehold.guard.detectors.given_names import GIVEN_NAMES

_CAPITAL = r"[A-Z\xc0]"
_REST = r"[A-Za-z\xc0\xe0'\-]"
_NAME = rf"{_CAPITAL}{_REST}{{1,20}}"
_LINK = r"(?:de la|de|del|di|da|dos|van der|van den|van|von|der|den|la|le|bin|al|el|af|ter)"
_NAMES = rf"{_NAME}(?:\s(?:{_CAPITAL}\.?\s)?(?:{_LINK}\s)?{_NAME}){{0,3}}"
_TITLE = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Madam|Herr|Frau|Fr"
    r"|Mme|Mlle|Monsieur|Madame|Sra|Srta|Sr|Dott|Sig|Signora|Rev|Captain|Judge)"
)
_INTRODUCED = (
    r"\b(?:[mM]y name is|[mM]y name's|[Nn]ame:|I am|I'm|[Tt]his is|[Cc]all me|[Dd]ear|[Pp]atient:?"
    r"|[Cc]ustomer:?|[Rr]egards,|[Ss]incerely,|[Mm]ein [Nn]ame ist|[Ii]ch bin|[Jj]e m'appelle"
    r"|[Mm]e llamo|[Mm]i chiamo|[Ii]k heet)"
)
_NOT_NAMES = frozenset(
    """
    the a an in on at for of to from by with and or but if is are was were be this that these those it he she we you
    they there here what when where which who why how my your our his her their its i not no yes please thank thanks
    hello hi dear sir madam mr mrs ms dr monday tuesday wednesday thursday friday saturday sunday january february
    march april may june july august september october november december english french german spanish italian
    american british european chinese japanese russian indian north south east west new old united states kingdom
    america europe asia africa canada france germany spain italy china japan russia india london paris berlin rome
    madrid york san los las saint street road avenue lane drive university college school institute company
    corporation inc ltd llc gmbh bank group department ministry court act bill law title chapter section table
    figure page part note example warning error python java javascript linux windows google microsoft apple amazon
    facebook docker kubernetes api http json sql html css url so as then than also just very well now first second
    next last one two three all any some each every most many more once after before during since until while
    because however therefore moreover although let see use using can could will would should may might must do does
    did has have had get go make take good great best better today tomorrow orchestra office border force visa card
    credit account email phone number date address happy sorry glad sure fine back
    """.split()  # noqa: SIM905 - a list of words reads better as words
)
_STREET = (
    r"(?:Streets?|St|Roads?|Rd|Avenues?|Ave|Lanes?|Ln|Drives?|Dr|Boulevard|Blvd|Courts?|Ct|Squares?|Sq|Way|Place|Pl|Terrace"
    r"|Close|Crescent|Highway|Hwy|Parkway|Pkwy|Trail|Circle|Row|Walk|Gardens|Mews|Grove|Hill|Plaza|Alley)"
)
_WORD = r"[A-Za-z\xc0\xe0\xaa.'\-]{1,20}"
_UNIT = r"(?:,?\s{1,2}(?:Suite|Ste|Apt\.?|Apartment|Unit|Flat|Room|Floor|#)\s?[A-Z]?\d{1,5}[A-Z]?)?"
_CITY = (
    rf"(?:[,\s]\s{{0,3}}{_NAME}(?:\s{_NAME}){{0,2}})?"
    rf"(?:[,\s]\s{{0,2}}[A-Z]{{2}})?(?:[,\s]\s{{0,2}}\d{{5}}(?:-\d{{4}})?)?"
)
_CODE = r"(?:\d{4,5}(?:-\d{3,4})?|\d{3}\s\d{2}|\d{4}\s[A-Z]{2}|[A-Z]{1,2}\d[A-Z\d]?\s?\d[A-Z]{2})"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6}\.?"
_BORN = (
    "born", "born on", "dob", "d o b", "date of birth", "birth date", "birthdate", "birthday", "birth", "geboren",
    "geb",
    "geburtsdatum", "nacido", "nacida", "fecha de nacimiento", "date de naissance", "nato", "nata", "data di nascita",
)  # fmt: skip


def _is_name_word(word: str) -> bool:
    return word.lower().rstrip(".") not in _NOT_NAMES


def _names_after(text: str, start: int, end: int) -> list[Span]:
    """The capitalised words at the end of the candidate, without a title before them."""
    match = re.search(rf"{_NAMES}$", text[start:end])
    if match is None:
        return []
    begin, until = start + match.start(), start + match.end()
    while (word := text[begin:until].split(maxsplit=1)) and not _is_name_word(word[0]):
        if len(word) == 1:
            return []
        begin = until - len(word[1])
    kept = text[begin:until].split()
    while kept and not _is_name_word(kept[-1]):
        until = begin + text[begin:until].rindex(kept.pop())
    until = begin + len(text[begin:until].rstrip())
    while text[begin:until].endswith(("'s", "'")):
        until -= 2 if text[begin:until].endswith("'s") else 1
    return [(begin, until)] if kept and until > begin else []


def _given(text: str, start: int, end: int) -> list[Span]:
    first = re.split(r"[\s\-]", text[start:end], maxsplit=1)[0].removesuffix("'s")
    if first not in GIVEN_NAMES:
        return []
    return _names_after(text, start, end)


def _pair(text: str, start: int, end: int) -> list[Span]:
    parts = text[start:end].split()
    if any(not _is_name_word(part) or part.isupper() for part in parts[:2]):
        return []
    return _names_after(text, start, end)


PERSONS: tuple[Detector, ...] = (
    Detector("titled_name", "PERSON", (rf"\b{_TITLE}\.?\s{_NAMES}\b",), 0.85, look=_names_after),
    Detector(
        "introduced_name",
        "PERSON",
        (rf"{_INTRODUCED}\s{{1,2}}{_NAMES}\b",),
        0.8,
        look=_names_after,
    ),
    Detector("given_name", "PERSON", (rf"\b{_NAMES}\b",), 0.75, look=_given),
    Detector(
        "capitalised_pair", "PERSON", (rf"\b{_NAME}\s(?:{_CAPITAL}\.?\s)?(?:{_LINK}\s)?{_NAME}\b",), 0.4, look=_pair
    ),
)

ADDRESSES: tuple[Detector, ...] = (
    Detector(
        "street_number_first",
        "ADDRESS",
        (rf"\b\d{{1,6}}[A-Za-z]?,?\s(?:{_WORD}\s){{1,4}}{_STREET}\b\.?{_UNIT}{_CITY}",),
        0.75,
    ),
    Detector(
        "street_number_last",
        "ADDRESS",
        (
            rf"\b{_CAPITAL}[A-Za-z\xc0\xe0\-]{{1,24}}(?:stra(?:ss|\xe0)?e|str\.|weg|platz|gasse|allee|ring|damm|ufer|straat|laan|plein|gracht|gade|vej|gatan|v.gen|gata|veien|vegen|katu|tie|utca)\s\d{{1,4}}\s?[A-Za-z]?\b(?:,?\s{{1,2}}\d{{4,5}}\s{_NAME})?",
            rf"\b(?:Via|Viale|Piazza|Corso|Calle|Avenida|Plaza|Paseo|Rua|ul\.|Rue|rue|Boulevard|Chemin)\s(?:{_WORD}\s){{1,4}}(?:n\.?\s)?\d{{1,4}}\b",
            (
                rf"\b\d{{1,4}}(?:\sbis)?,?\s(?:rue|avenue|boulevard|place|all.e|chemin|impasse|quai|cours)\s"
                rf"(?:(?:de|du|des|la|le|les)\s){{0,3}}(?:[dl]')?{_NAME}(?:[\s\-]{_NAME}){{0,2}}\b"
            ),
            rf"\b{_NAME}\s(?:Strasse|Street|utca|u\.|{_STREET})\s\d{{1,4}}\b",
        ),
        0.75,
    ),
    Detector(
        "post_box",
        "ADDRESS",
        (
            r"\b(?:P\.?\s?O\.?\s?|PSC\s\d{1,5},?\s|Unit\s\d{1,5},?\s)?Box\s\d{2,6}\b(?:,?\s{1,3}(?:APO|FPO|DPO)\s[A-Z]{2}\s\d{5})?",
            r"\b(?:APO|FPO|DPO)\s[A-Z]{2}\s\d{5}\b",
        ),
        0.75,
    ),
    Detector("unit", "ADDRESS", (r"\b(?:Suite|Apt\.?|Apartment|Flat)\s\d{1,5}[A-Z]?\b",), 0.6),
    Detector(
        "post_code",
        "ADDRESS",
        (rf"\b(?:zip|postcode|post code|postal code|plz)(?: code)?[ :#]{{1,3}}(?:is )?{_CODE}\b",),
        0.7,
        caseless=True,
        inner=rf"(?i)[ :#]{{1,3}}(?:is )?(?P<v>{_CODE})\b",
    ),
    Detector("gb_post_code", "ADDRESS", (r"\b[A-Z]{1,2}\d[A-Z\d]?\s\d[ABD-HJLNP-UW-Z]{2}\b",), 0.8),
    Detector(
        "us_state_code",
        "ADDRESS",
        (
            r",\s(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])\s\d{5}(?:-\d{4})?\b",
        ),
        0.8,
        inner=r"[A-Z]{2}\s\d{5}(?:-\d{4})?",
    ),
)

TIMES: tuple[Detector, ...] = (
    Detector(
        "birth_date",
        "BIRTH_DATE",
        (r"\b\d{1,4}[./\-]\d{1,2}[./\-]\d{2,4}\b",),
        0.9,
        check=is_plain_date,
        near=_BORN,
    ),
    Detector(
        "birth_date_in_words",
        "BIRTH_DATE",
        (
            rf"\b\d{{1,2}}(?:st|nd|rd|th|\.)?\s(?:of\s)?{_MONTH},?\s\d{{4}}\b",
            rf"\b{_MONTH}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}\b",
        ),
        0.9,
        near=_BORN,
    ),
    Detector(
        "age",
        "AGE",
        (
            r"\b\d{1,3}[ \-](?:years?|yrs?)[ \-]olds?\b",
            r"\b\d{1,3}\s?(?:y/o|yo|y\.o\.)",
            r"\b(?:aged|age:?|turned|turning|i'm|i am|he is|she is|he was|she was|alter:?)\s\d{1,3}\b",
        ),
        0.7,
        caseless=True,
        inner=r"(?<!\d)(?P<v>\d{1,3})(?!\d|[.,]\d)",
        check=lambda text: 0 < int(text) < 120,
    ),
)

DETECTORS = PERSONS + ADDRESSES + TIMES
