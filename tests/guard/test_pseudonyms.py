"""Names out to the model and back to the person, in whole texts and across any cut."""

import pytest

from freehold.guard.detector import Finding
from freehold.guard.passage import Guard, Recognizer
from freehold.guard.policy import Policy, Rule
from freehold.guard.pseudonyms import Pseudonyms, Restorer
from tests.guard.conftest import pieces

POLICY = Policy(rules={"prompt": {"EMAIL": Rule("pseudonymise"), "CARD": Rule("pseudonymise")}, "answer": {}})


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard(POLICY)


def test_the_model_sees_a_placeholder_and_the_person_the_text(guard: Guard) -> None:
    names = Pseudonyms()
    asked = guard.text("prompt", "Write to ada@example.org and bo@example.org, then ADA@example.org.", names)
    assert asked.text == "Write to <EMAIL_1> and <EMAIL_2>, then <EMAIL_1>."
    flow = guard.stream("answer", names)
    assert flow.feed("Dear <EMAIL_2>, <EMAIL_1> asked") + flow.finish() == "Dear bo@example.org, ada@example.org asked"


def test_numbers_follow_the_order_and_another_conversation_knows_nothing(guard: Guard) -> None:
    first, second = Pseudonyms(), Pseudonyms()
    guard.text("prompt", "a@example.org b@example.org", first)
    assert second.restored("<EMAIL_1>") == "<EMAIL_1>"
    assert first.restored("<EMAIL_1> <EMAIL_2> <EMAIL_3>") == "a@example.org b@example.org <EMAIL_3>"


DRIFT = ["<EMAIL_1>", "<email_1>", "<Email 1>", "<EMAIL-1>", "&lt;EMAIL_1&gt;", r"<EMAIL\_1>", "EMAIL_1", "< EMAIL_1 >"]


@pytest.mark.parametrize("written", DRIFT)
def test_a_placeholder_that_the_model_changed_is_known(written: str) -> None:
    names = Pseudonyms()
    names.of("EMAIL", "ada@example.org")
    text = f"to {written}, ok"
    assert names.restored(text) == "to ada@example.org, ok"
    for cut in range(1, len(text)):
        restorer = Restorer(names)
        out = "".join(restorer.feed(piece) for piece in pieces(text, [cut])) + restorer.finish()
        assert out == "to ada@example.org, ok", cut
    restorer = Restorer(names)
    assert "".join(restorer.feed(char) for char in text) + restorer.finish() == "to ada@example.org, ok"


@pytest.mark.parametrize("text", ["email 1", "<EMAIL_12>", "my_EMAIL_1", "a < b and <EM>", "<PERSON_1>", "EMAIL_10"])
def test_what_is_no_known_placeholder_stays(text: str) -> None:
    names = Pseudonyms()
    names.of("EMAIL", "ada@example.org")
    restorer = Restorer(names)
    assert "".join(restorer.feed(char) for char in text) + restorer.finish() == text


def test_a_restorer_holds_little_and_nothing_without_names() -> None:
    restorer = Restorer(Pseudonyms())
    assert restorer.feed("<EMAIL_") == "<EMAIL_"
    names = Pseudonyms()
    names.of("EMAIL", "x@y.zz")
    restorer = Restorer(names)
    restorer.feed("<" * 1000)
    assert restorer.held < 64


class Towns:
    """A recognizer, as a plug-in would be: knows two towns."""

    def recognize(self, text: str) -> list[Finding]:
        return [
            Finding(at, at + len(town), "ADDRESS", "towns", 0.9)
            for town in ("Graz", "Linz")
            for at in range(len(text))
            if text.startswith(town, at)
        ] + [Finding(0, 10_000, "ADDRESS", "wrong", 0.99)]


def test_a_recognizer_plugs_in() -> None:
    towns: Recognizer = Towns()
    guard = Guard(Policy(rules={"prompt": {"ADDRESS": Rule("mask", 0.8)}}), recognizers=(towns,))
    outcome = guard.text("prompt", "From Graz to Linz.")
    assert outcome.text == "From [ADDRESS] to [ADDRESS]."
    assert [f.detector for f in outcome.findings] == ["towns", "towns"]


def test_a_block_ends_the_text_with_a_notice() -> None:
    guard = Guard(Policy(rules={"answer": {"CARD": Rule("block", 0.9)}}))
    for cut in (1, 8, 12, 40):
        flow = guard.stream("answer")
        out = (
            "".join(flow.feed(piece) for piece in pieces("Card: 4929381332664295 and more text", [min(cut, 34)]))
            + flow.finish()
        )
        assert flow.blocked
        assert out == "Card: [This text was ended here: it held data that may not be shown.]"


def test_an_allowed_text_is_left(guard: Guard) -> None:
    own = Guard(Policy(allowed=("4929 3813 3266 4295",)))
    assert own.text("answer", "4929 3813 3266 4295 / 5555 5555 5555 4444").text == "4929 3813 3266 4295 / [CARD]"
