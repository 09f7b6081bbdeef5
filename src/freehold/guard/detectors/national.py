"""Numbers by which a state knows a person, of over forty countries, with their check digits; passports and licences.

A number whose form or check is strong enough stands alone. One that any ten digits might be must have its name, or the
name of what it is, shortly before it: `ALONE` and `NAMED` say which is which.
"""

import importlib
from collections.abc import Callable

from freehold.guard.checks import by, digits, is_date, luhn
from freehold.guard.detector import Detector


def _stdnum(name: str) -> Callable[[str], bool]:
    return by(importlib.import_module(f"stdnum.{name}"))


def _birth(number: str, *, first_year: bool = True, offsets: tuple[int, ...] = (0,)) -> bool:
    """Do six digits tell a day? YYMMDD, else DDMMYY; `offsets`: what some countries add to the month."""
    month = int(number[2:4])
    if month - offsets[-1] > 12:
        return False
    a, c = int(number[:2]), int(number[4:6])
    year, day = (a, c) if first_year else (c, a)
    return day <= 31 and any(is_date(2000 + year, month - offset, day) for offset in offsets)


def _dated(check: Callable[[str], bool], *, first_year: bool, offsets: tuple[int, ...] = (0,)) -> Callable[[str], bool]:
    """The cheap look at the day first, then the check."""
    return lambda text: _birth(digits(text), first_year=first_year, offsets=offsets) and check(text)


def _is_ssn(text: str) -> bool:
    number = digits(text)
    area, group, serial = number[:3], number[3:5], number[5:]
    known = number in ("078051120", "219099999", "123456789") or len(set(number)) == 1
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000" and not known


def _is_itin(text: str) -> bool:
    number = digits(text)
    group = int(number[3:5])
    return number[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99)


def _is_cpr(text: str) -> bool:
    return _birth(digits(text), first_year=False)


def _is_swede(text: str) -> bool:
    number = digits(text)[-10:]
    day = int(number[4:6])
    return _birth(number[:4] + f"{day - 60 if day > 60 else day:02}") and luhn(number)


def _is_korean(text: str) -> bool:
    number = digits(text)
    return _birth(number) and number[6] in "12345678"


def _is_malaysian(text: str) -> bool:
    return _birth(digits(text))


_turkish, _romanian = _stdnum("tr.tckimlik"), _stdnum("ro.cnp")


def _is_turkish(text: str) -> bool:
    total = sum(text[:10].encode()) - 480
    return text[0] != "0" and total % 10 == int(text[10]) and len(set(text)) > 2 and _turkish(text)


def _is_romanian(text: str) -> bool:
    return text[0] in "12345678" and _birth(text[1:7]) and _romanian(text)


def _is_chinese(text: str) -> bool:
    if not is_date(int(text[6:10]), int(text[10:12]), int(text[12:14])):
        return False
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    rest = sum(int(digit) * weight for digit, weight in zip(text[:17], weights, strict=True)) % 11
    return "10X98765432"[rest] == text[17].upper()


def _is_south_african(text: str) -> bool:
    return _birth(text) and text[10] in "012" and luhn(text)


_GENERAL = (
    "national id",
    "id number",
    "identity number",
    "identification number",
    "personal number",
    "personal id",
    "citizen",
    "id card",
    "tax id",
    "taxpayer",
    "tin",
)

ALONE: dict[str, tuple[tuple[str, ...], Callable[[str], bool]]] = {
    "us_ssn": ((r"\b\d{3}[\- ]\d{2}[\- ]\d{4}\b",), _is_ssn),
    "us_itin": ((r"\b9\d{2}[\- ][5-9]\d[\- ]\d{4}\b",), _is_itin),
    "gb_nino": (
        (r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b",),
        lambda text: text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"),
    ),
    "fr_nir": (
        (
            r"\b[12]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{8}\b",
            r"\b[12] \d{2} \d{2} \d[\dAB] \d{3} \d{3} \d{2}\b",
        ),
        _stdnum("fr.nir"),
    ),
    "es_dni": ((r"\b\d{8}-?[A-HJ-NP-TV-Z]\b",), _stdnum("es.dni")),
    "es_nie": ((r"\b[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z]\b",), _stdnum("es.nie")),
    "it_codice_fiscale": (
        (r"\b[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPR-T][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]\b",),
        _stdnum("it.codicefiscale"),
    ),
    "br_cpf": ((r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b",), _stdnum("br.cpf")),
    "fi_hetu": ((r"\b\d{6}[\-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]\b",), _stdnum("fi.hetu")),
    "se_personnummer": ((r"\b(?:19|20)?\d{6}[\-+]\d{4}\b",), _is_swede),
    "no_fodselsnummer": (
        (r"\b\d{11}\b", r"\b\d{6} \d{5}\b"),
        _dated(_stdnum("no.fodselsnummer"), first_year=False, offsets=(0, 40, 80)),
    ),
    "pl_pesel": ((r"\b\d{11}\b",), _dated(_stdnum("pl.pesel"), first_year=True, offsets=(0, 20, 40, 60, 80))),
    "be_nn": (
        (r"\b\d{11}\b", r"\b\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}\b"),
        _dated(_stdnum("be.nn"), first_year=True),
    ),
    "ch_ahv": ((r"\b756\.?\d{4}\.?\d{4}\.?\d{2}\b",), _stdnum("ch.ssn")),
    "ro_cnp": ((r"\b\d{13}\b",), _is_romanian),
    "cz_rc": ((r"\b\d{6}/\d{3,4}\b",), _stdnum("cz.rc")),
    "tr_kimlik": ((r"\b\d{11}\b",), _is_turkish),
    "in_aadhaar": ((r"\b[2-9]\d{3} \d{4} \d{4}\b",), _stdnum("in_.aadhaar")),
    "in_pan": ((r"\b[A-Z]{3}[ABCFGHJLPT][A-Z]\d{4}[A-Z]\b",), _stdnum("in_.pan")),
    "mx_curp": ((r"\b[A-Z]{4}\d{6}[HM][A-Z]{5}[A-Z0-9]\d\b",), _stdnum("mx.curp")),
    "ar_cuit": ((r"\b(?:20|23|24|27|30|33|34)-\d{8}-\d\b",), _stdnum("ar.cuit")),
    "cl_rut": ((r"\b\d{1,2}\.\d{3}\.\d{3}-[\dKk]\b", r"\b\d{7,8}-[\dKk]\b"), _stdnum("cl.rut")),
    "cn_ric": ((r"\b[1-9]\d{16}[\dXx]\b",), _is_chinese),
    "kr_rrn": ((r"\b\d{6}-[1-8]\d{6}\b",), _is_korean),
    "my_nric": ((r"\b\d{6}-\d{2}-\d{4}\b",), _is_malaysian),
    "sg_nric": ((r"\b[STFGM]\d{7}[A-Z]\b",), lambda text: _is_singaporean(text)),
    "th_pin": ((r"\b\d-\d{4}-\d{5}-\d{2}-\d\b",), _stdnum("th.pin")),
    "za_id": ((r"\b\d{13}\b",), _is_south_african),
    "lv_personas_kods": (
        (r"\b\d{6}-\d{5}\b",),
        lambda text: _birth(digits(text), first_year=False) or text[:2] == "32",
    ),
    "tw_id": ((r"\b[A-Z][12]\d{8}\b",), lambda text: _is_taiwanese(text)),
    "ee_lt_code": ((r"\b\d{11}\b",), lambda text: text[0] in "3456" and _is_baltic(text)),
}
"""Name → forms, check. Found wherever they stand."""

NAMED: dict[str, tuple[tuple[str, ...], Callable[[str], bool], tuple[str, ...]]] = {
    "us_ssn_plain": ((r"\b\d{9}\b",), _is_ssn, ("ssn", "social security")),
    "ca_sin": (
        (r"\b\d{9}\b", r"\b\d{3}[ \-]\d{3}[ \-]\d{3}\b"),
        lambda t: luhn(digits(t)),
        ("sin", "social insurance"),
    ),
    "gb_nhs": ((r"\b\d{3}[ \-]?\d{3}[ \-]?\d{4}\b",), _stdnum("gb.nhs"), ("nhs", "health service")),
    "de_idnr": (
        (r"\b\d{2} ?\d{3} ?\d{3} ?\d{3}\b",),
        _stdnum("de.idnr"),
        ("steuer", "idnr", "identifikationsnummer", "steuer id", "tin", "tax id"),
    ),
    "nl_bsn": ((r"\b\d{9}\b",), _stdnum("nl.bsn"), ("bsn", "burgerservicenummer", "sofinummer")),
    "dk_cpr": ((r"\b\d{6}-?\d{4}\b",), _is_cpr, ("cpr", "personnummer", "cpr nummer")),
    "br_cpf_plain": ((r"\b\d{11}\b",), _stdnum("br.cpf"), ("cpf", "cadastro de pessoas")),
    "at_vnr": (
        (r"\b\d{4} ?\d{6}\b",),
        _stdnum("at.vnr"),
        ("svnr", "sozialversicherung", "sozialversicherungsnummer", "sv nummer"),
    ),
    "pt_nif": ((r"\b\d{9}\b",), _stdnum("pt.nif"), ("nif", "contribuinte")),
    "gr_amka": ((r"\b\d{11}\b",), _stdnum("gr.amka"), ("amka", "social security")),
    "bg_egn": ((r"\b\d{10}\b",), _stdnum("bg.egn"), ("egn",)),
    "hr_oib": ((r"\b\d{11}\b",), _stdnum("hr.oib"), ("oib",)),
    "il_id": ((r"\b\d{9}\b",), _stdnum("il.idnr"), ("teudat zehut", "israeli id", "israel id")),
    "is_kennitala": ((r"\b\d{6}-?\d{4}\b",), _stdnum("is_.kennitala"), ("kennitala", "kt")),
    "ie_pps": ((r"\b\d{7}[A-W][A-IW]?\b",), _stdnum("ie.pps"), ("pps", "ppsn", "personal public service")),
    "jp_my_number": ((r"\b\d{4}[ \-]?\d{4}[ \-]?\d{4}\b",), _stdnum("jp.in_"), ("my number", "individual number")),
    "au_tfn": ((r"\b\d{3} ?\d{3} ?\d{2,3}\b",), _stdnum("au.tfn"), ("tfn", "tax file")),
    "in_aadhaar_plain": ((r"\b[2-9]\d{11}\b",), _stdnum("in_.aadhaar"), ("aadhaar", "aadhar", "uidai")),
    "ua_rntrc": ((r"\b\d{10}\b",), _stdnum("ua.rntrc"), ("rnokpp", "tax number", "ipn")),
    "si_emso": ((r"\b\d{13}\b",), _stdnum("si.emso"), ("emso", "jmbg")),
    "hu_tax": ((r"\b8\d{9}\b",), lambda t: len(t) == 10, ("adoazonosito", "tax id")),
    "th_pin_plain": ((r"\b\d{13}\b",), _stdnum("th.pin"), ("thai id", "national id")),
}
"""Name → forms, check, words of which one must stand before."""

_SINGAPORE = {"S": "JZIHGFEDCBA", "T": "GFEDCBAJZIH", "F": "XWUTRQPNMLK", "G": "RQPNMLKXWUT"}


def _is_singaporean(text: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(text[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    if text[0] == "M":
        return "KLJNPQRTUWX"[10 - (total + 3) % 11] == text[8]
    return _SINGAPORE[text[0]][total % 11] == text[8]


def _is_taiwanese(text: str) -> bool:
    letter = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(text[0]) + 10
    weighted = sum(int(digit) * weight for digit, weight in zip(text[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True))
    return (letter // 10 + letter % 10 * 9 + weighted) % 10 == 0


def _is_baltic(text: str) -> bool:
    """Estonia's and Lithuania's code: a century, the day, and a check digit by two rows of weights."""
    if not _birth(text[1:7]):
        return False
    for weights in ("1234567891", "3456789123"):
        rest = sum(int(digit) * int(weight) for digit, weight in zip(text[:10], weights, strict=True)) % 11
        if rest < 10:
            return rest == int(text[10])
    return text[10] == "0"


_PASSPORT = (
    "passport",
    "passport no",
    "passport number",
    "reisepass",
    "passeport",
    "pasaporte",
    "passaporto",
    "paspoort",
)
_LICENCE = (
    r"\b(?:driv(?:er|ers|er's|ing)|fuhrerschein|dl)[ \-]{0,1}(?:licen[cs]e|nummer)?[ :#]{1,3}"
    r"(?:number|no\.?|num|id)?[ :#]{0,3}"
    r"(?:is|was|ist)?[ :#]{0,3}"
)
_LICENCE_FORMS = r"(?:[A-Z]?\d{1,5}(?:[\- ]\d{2,6}){1,4}|[A-Z]{0,2}\d{4,14})\b"


def _has_digits(text: str) -> bool:
    return sum(char.isdigit() for char in text) >= 5


DETECTORS: tuple[Detector, ...] = (
    *(Detector(name, "NATIONAL_ID", forms, 0.93, check=check) for name, (forms, check) in ALONE.items()),
    *(
        Detector(name, "NATIONAL_ID", forms, 0.94, check=check, near=(*near, *_GENERAL))
        for name, (forms, check, near) in NAMED.items()
    ),
    Detector("passport", "PASSPORT", (r"\b[A-Z]{0,2}\d{6,9}[A-Z]?\b",), 0.9, near=_PASSPORT),
    Detector(
        "passport_machine_line",
        "PASSPORT",
        (r"\bP[A-Z<][A-Z]{3}[A-Z]{2,20}<[A-Z<]{18,38}",),
        0.97,
    ),
    Detector(
        "driver_licence",
        "LICENCE",
        (_LICENCE + _LICENCE_FORMS,),
        0.92,
        caseless=True,
        inner=rf"(?i)(?<![A-Z0-9])(?P<v>{_LICENCE_FORMS})",
        check=_has_digits,
    ),
    Detector(
        "gb_driver_licence",
        "LICENCE",
        (r"\b[A-Z9]{5}\d[0156]\d(?:[0-2]\d|3[01])\d[A-Z9]{2}[A-Z0-9][A-Z]{2}\b",),
        0.93,
    ),
)
