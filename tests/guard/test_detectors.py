"""What each detector finds and what it must leave alone. The examples are made up; their check digits are real."""

import pytest
from phonenumbers import SUPPORTED_REGIONS

from freehold.guard import pattern
from freehold.guard.detectors import built_in
from freehold.guard.detectors.national import ALONE, NAMED
from freehold.guard.passage import Guard
from freehold.protocol.ids import new_secret

FOUND = {
    "SECRET": [
        "AKIA" + "Q3EGRIZ5XWTN7KMB",
        "ghp_" + "k3Jd8Fh2Ls9Qw4Er6Ty1Ui0Op5As7Df3Gh2J",
        "glpat-" + "x7Kd-93jfLq_28dhWsPz",
        "xoxb-" + "284719284719-184719384756-Ab3dEf6hIj9kLm2nOp5qRs8t",
        "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
        "sk-proj-" + "q8Zt4Lw9Xc2Vb7Nm1Kj6Hg3Fd5Sa0Po",
        "sk-ant-api03-" + "q8Zt4Lw9Xc2Vb7Nm1Kj6Hg3Fd5Sa0PoqwE",
        "AIza" + "SyD8f3kLm2nOp5qRs8tUv1wXy4zAb7Cd0Ef",
        "SG." + "q8Zt4Lw9Xc2Vb7Nm1Kj6Hg." + "q8Zt4Lw9Xc2Vb7Nm1Kj6Hg3Fd5Sa0PoqwErTyUiOpA8",
        "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi",
        "npm_" + "k3Jd8Fh2Ls9Qw4Er6Ty1Ui0Op5As7Df3Gh2J",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c",
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB0Vb2lk\nq9s+Zz==\n-----END EC PRIVATE KEY-----",
        "123456789:AA" + "F3kLm2nOp5qRs8tUv1wXy4zAb7Cd0Ef_q",
    ],
    "CARD": [
        "4929 3813 3266 4295",
        "5555555555554444",
        "371449635398431",
        "3530-1113-3330-0000",
        "6 0 1 1 1 1 1 1 1 1 1 1 1 1 1 7",
    ],
    "IBAN": [
        "DE89370400440532013000",
        "GB29 NWBK 6016 1331 9268 19",
        "fr1420041010050500013m02606",
        "NL91 ABNA 0417 1643 00",
    ],
    "EMAIL": ["ada.lovelace+notes@example.org", "x@sub.domain.co.uk"],
    "PHONE": ["+49 30 901820", "+1 (202) 555-0143", "(202) 555-0143", "020 7946 0958", "0033 1 42 68 53 00"],
    "IP": ["203.0.113.77", "2001:db8:85a3:0:0:8a2e:370:7334", "fe80::1ff:fe23:4567:890a"],
    "MAC": ["00:1b:44:11:3a:b7", "00-1B-44-11-3A-B7", "001b.4411.3ab7"],
    "CRYPTO": [
        "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2",
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        "0x52908400098527886E0F7030069857D2E4169EE7",
    ],
    "ADDRESS": [
        "221B Baker Street, London",
        "Hauptstraße 12, 10115 Berlin",
        "12 rue de la Paix",
        "Via Garibaldi 7",
        "P.O. Box 4711",
        "SW1A 1AA",
    ],
    "PASSPORT": ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<"],
}

NATIONAL = {
    "us_ssn": "536-90-4399",
    "us_itin": "912-70-1234",
    "gb_nino": "AB 12 34 56 C",
    "fr_nir": "2 95 10 99 126 111 93",
    "es_dni": "54362315K",
    "es_nie": "X-2482300-W",
    "it_codice_fiscale": "RCCMNL83S18D969H",
    "br_cpf": "390.533.447-05",
    "fi_hetu": "131052-308T",
    "se_personnummer": "880320-0016",
    "no_fodselsnummer": "15108695088",
    "pl_pesel": "44051401359",
    "be_nn": "85.07.30-033.28",
    "ch_ahv": "756.9217.0769.85",
    "ro_cnp": "1630615123457",
    "cz_rc": "710319/2745",
    "tr_kimlik": "17291716060",
    "in_aadhaar": "2341 2341 2346",
    "in_pan": "ACUPA7085R",
    "mx_curp": "BOXW310820HNERXN09",
    "ar_cuit": "20-05536168-2",
    "cl_rut": "12.531.909-2",
    "cn_ric": "360426199101010071",
    "kr_rrn": "971013-1019902",
    "my_nric": "770305-02-1234",
    "sg_nric": "S1234567D",
    "za_id": "7503305044089",
    "tw_id": "A123456789",
    "ee_lt_code": "36805280109",
}

AFTER_A_WORD = {
    "nl_bsn": "BSN 111222333",
    "dk_cpr": "CPR 211062-5629",
    "ca_sin": "social insurance number 123-456-782",
    "gb_nhs": "NHS number 943 476 5870",
    "de_idnr": "Steuer IDNr. 36 574 261 809",
    "at_vnr": "SVNR 1237 010180",
    "pt_nif": "NIF 501964843",
    "hr_oib": "OIB 33392005961",
    "bg_egn": "EGN 7523169263",
    "ie_pps": "PPS number 6433435F",
    "au_tfn": "tax file number 123 456 782",
    "us_ssn_plain": "SSN: 536904399",
}

IN_A_SENTENCE = [
    ("password = 'tr0ub4dor&3x'", "SECRET", "tr0ub4dor&3x"),
    ('{"api_key": "8f14e45fceea167a5a36"}', "SECRET", "8f14e45fceea167a5a36"),
    ("export DB_PASSWORD=Gk7!pQ2z\n", "SECRET", "Gk7!pQ2z"),
    ("DB_PASSWORD=Gk7!pQ2z", "SECRET", "Gk7!pQ2z"),
    ("my password is hunter2!", "SECRET", "hunter2!"),
    ("my password is hunter2! thanks", "SECRET", "hunter2!"),
    ("postgres://ada:tr0ub4dor@db.internal/x", "SECRET", "tr0ub4dor"),
    (
        "aws_secret_access_key = wJalrXUtnFEMIbK7MDENGbPxRfiCYzq3kd8LmP2s",
        "SECRET",
        "wJalrXUtnFEMIbK7MDENGbPxRfiCYzq3kd8LmP2s",
    ),
    ("Authorization: Bearer q8Zt4Lw9Xc2Vb7Nm1Kj6Hg3F", "SECRET", "q8Zt4Lw9Xc2Vb7Nm1Kj6Hg3F"),
    ("My name is Ada Lovelace and I write.", "PERSON", "Ada Lovelace"),
    ("Please ask Dr. Nowak about it.", "PERSON", "Nowak"),
    ("I met Sabine yesterday.", "PERSON", "Sabine"),
    ("She was born on 12/03/1980 in Graz.", "BIRTH_DATE", "12/03/1980"),
    ("date of birth: 3 March 1980", "BIRTH_DATE", "3 March 1980"),
    ("He just turned 47 today.", "AGE", "47"),
    ("a 79 year old man", "AGE", "79"),
    ("Passport number C10100747 was", "PASSPORT", "C10100747"),
    ("driver's license number is F162823540116", "LICENCE", "F162823540116"),
    ("routing number 021000021", "IBAN", "021000021"),
    ("Tel. 901 820 33", "PHONE", "901 820 33"),
    ("ZIP: 48750", "ADDRESS", "48750"),
    ("my card 438023446309059624", "CARD", "438023446309059624"),
    ("security code: 737", "CARD", "737"),
]

LEFT_ALONE = [
    "The order 4929381332664296 was shipped.",  # Luhn is wrong
    "the id 4929381332664295008 or 438023446309059624 of a message",
    "0.5157244298499769 and 0,4929381332664295; 3.44051401359",
    "DE89370400440532013001 is no account.",
    "My number is 000-12-3456, and 666-12-3456.",
    "44051401358 and 17291716061 are only numbers.",
    "BSN 111222334",
    "2024-05-17 12:30:45, version 10.2.3.4, section 1.2.3.4",
    "pi is 3.14159265358979",
    "commit 4b825dc642cb6eb9a060e54bf8d69288fbee4904 fixes it",
    "550e8400-e29b-41d4-a716-446655440000",
    "const apiKey = process.env.API_KEY;",
    "password: the field is required",
    "api_key: <your key here>",
    "token = response.json()",
    "token ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "if (password == other) return",
    "He was 1.80 tall and had 12 apples, 15 pears and 100 plums.",
    "12:30:45 and 00:11",
    "Bread costs 3.50, milk 1.20.",
    "see user@ or @home",
]


def kinds(guard: Guard, text: str) -> list[tuple[str, str]]:
    """(class, text) of what is found in an answer."""
    return [(f.kind, text[f.start : f.end]) for f in guard.text("answer", text).findings]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values])
@pytest.mark.parametrize("sentence", ["{}", "See {} there.", "({})", '"{}",\n'])
def test_a_value_is_found_as_it_stands(strict: Guard, kind: str, value: str, sentence: str) -> None:
    found = kinds(strict, sentence.format(value))
    assert found == [(kind, value)], found


@pytest.mark.parametrize(("name", "value"), NATIONAL.items())
def test_a_national_number_is_found_and_with_a_wrong_digit_is_not(strict: Guard, name: str, value: str) -> None:
    assert ("NATIONAL_ID", value) in kinds(strict, f"It is {value} there.")
    checked = {"us_ssn", "us_itin", "gb_nino", "kr_rrn", "my_nric", "in_pan"}  # these have no check digit
    if name not in checked:
        last = value[-1]
        wrong = value[:-1] + ("1" if last == "0" else "0" if last.isdigit() else "A" if last != "A" else "B")
        assert ("NATIONAL_ID", wrong) not in kinds(strict, f"It is {wrong} there.")


@pytest.mark.parametrize(("name", "text"), AFTER_A_WORD.items())
def test_a_plain_number_is_found_after_its_name_only(strict: Guard, name: str, text: str) -> None:
    assert "NATIONAL_ID" in [kind for kind, _ in kinds(strict, f"My {text}, please.")], name
    bare = text.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz:. ")
    assert "NATIONAL_ID" not in [kind for kind, _ in kinds(strict, f"We made {bare} of them.")], name


def test_there_are_more_than_fifteen_countries() -> None:
    assert len({name[:2] for name in (*ALONE, *NAMED)}) >= 40


@pytest.mark.parametrize(("text", "kind", "value"), IN_A_SENTENCE)
def test_a_value_is_found_by_its_context(strict: Guard, text: str, kind: str, value: str) -> None:
    assert (kind, value) in kinds(strict, text)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_it_is_left_alone(strict: Guard, text: str) -> None:
    assert strict.text("answer", text).text == text


def test_our_own_secrets_are_known_by_their_check_value(default: Guard) -> None:
    secret = new_secret("fh")
    assert default.text("answer", f"use {secret}.").text == "use [SECRET]."
    wrong = secret[:-1] + ("a" if secret[-1] != "a" else "b")
    assert default.text("answer", f"use {wrong}.").text == f"use {wrong}."


def test_a_key_is_swallowed_to_its_end_and_no_further(default: Guard) -> None:
    body = "\n".join("q8Zt4Lw9Xc2Vb7Nm1Kj6Hg3Fd5Sa0PoqwErTyUiOpAsDfGhJkLzXcVbNm12345+" for _ in range(40))
    key = f"-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----"
    assert default.text("answer", f"It is\n{key}\nKeep it.").text == "It is\n[SECRET]\nKeep it."


@pytest.mark.parametrize(
    "written",
    [
        "4929381332664295".translate({ord("4"): "𝟒", ord("9"): "９"}),
        "4929\u200b3813\u200d3266\u20604295",
        "4929 3813 3266 4295",
        "4929–3813–3266–4295",
        "٤٩٢٩٣٨١٣٣٢٦٦٤٢٩٥",
    ],
)
def test_disguises_are_seen_through_and_the_original_is_replaced(default: Guard, written: str) -> None:
    assert default.text("answer", f"Zahl {written}, gut.").text == "Zahl [CARD], gut."


def test_a_look_alike_letter_does_not_hide_a_key(default: Guard) -> None:
    assert default.text("answer", "AКIA" + "Q3EGRIZ5XWTN7KMB").text == "[SECRET]"  # a Cyrillic К


def test_every_detector_is_in_the_language_and_bounded() -> None:
    for detector in built_in():
        for node in detector.nodes():
            assert 0 < pattern.least_width(node) <= pattern.width(node) <= pattern.WIDEST, detector.name
    assert len({detector.name for detector in built_in()}) == len(built_in())


def test_any_region_can_be_named() -> None:
    built_in(tuple(sorted(SUPPORTED_REGIONS)[:20]))
