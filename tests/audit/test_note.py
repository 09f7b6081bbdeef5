"""Signed notes against a note that another implementation signed, and what no checkpoint may be."""

import pytest

from freehold.audit.note import Signer, Verifier
from tests.audit import checker
from tests.audit.making import KEY, OTHER_KEY

# the example of Go's sumdb/note package
FOREIGN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
FOREIGN_TEXT = b"If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
FOREIGN_SIGNATURE = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="


def test_a_foreign_note_and_key() -> None:
    import base64

    key = Verifier.parse(FOREIGN_KEY)
    assert str(key) == FOREIGN_KEY
    value = base64.b64decode(FOREIGN_SIGNATURE)
    assert value[:4] == key.key_id
    assert key.holds(value[4:], FOREIGN_TEXT)
    assert not key.holds(value[4:], FOREIGN_TEXT + b"\n")


def test_a_checkpoint_reads_back_and_the_checker_agrees() -> None:
    note = KEY.checkpoint(42, b"r" * 32)
    found = KEY.verifier.open(note)
    assert (found.origin, found.size, found.root, found.note) == (KEY.verifier.name, 42, b"r" * 32, note)
    assert checker.open_note(note.decode(), str(KEY.verifier)) == (KEY.verifier.name, 42, b"r" * 32)
    assert KEY.verifier.open(KEY.checkpoint(0, b"r" * 32, "more")).extensions == ("more",)


def test_others_may_sign_too() -> None:
    note, cosigned = KEY.checkpoint(1, b"r" * 32), OTHER_KEY.sign(b"x")
    import base64

    line = f"\u2014 witness.example {base64.b64encode(b'abcd' + cosigned).decode()}\n".encode()
    assert KEY.verifier.open(note + line).size == 1


def test_every_single_change_of_a_checkpoint_is_found() -> None:
    note = KEY.checkpoint(4711, bytes(range(32)))
    for place in range(len(note)):
        for bit in range(8):
            bad = bytearray(note)
            bad[place] ^= 1 << bit
            with pytest.raises(ValueError):
                KEY.verifier.open(bytes(bad))
    for cut in range(len(note)):
        with pytest.raises(ValueError):
            KEY.verifier.open(note[:cut])


@pytest.mark.parametrize(
    "text",
    [
        "name\n01\n{root}\n",
        "name\n-1\n{root}\n",
        "name\n1\n{short}\n",
        "\n1\n{root}\n",
        "name\n1\n",
        "name\n 1\n{root}\n",
    ],
)
def test_signed_nonsense_is_no_checkpoint(text: str) -> None:
    import base64

    root = base64.b64encode(bytes(32)).decode()
    body = text.replace("name", KEY.verifier.name).format(root=root, short=root[4:]).encode()
    value = base64.b64encode(KEY.verifier.key_id + KEY.sign(body)).decode()
    with pytest.raises(ValueError):
        KEY.verifier.open(body + f"\n\u2014 {KEY.verifier.name} {value}\n".encode())


def test_another_key_is_another_log() -> None:
    with pytest.raises(ValueError):
        OTHER_KEY.verifier.open(KEY.checkpoint(1, bytes(32)))
    assert KEY.verifier.name != OTHER_KEY.verifier.name
    assert Signer(bytes(range(32))).verifier.public == KEY.verifier.public


@pytest.mark.parametrize(
    "line", ["", "a+b", "name+00000000+AQ==", str(KEY.verifier)[:-4], f"x{KEY.verifier}", "a b+1+2"]
)
def test_what_is_no_verifier_line(line: str) -> None:
    with pytest.raises(ValueError):
        Verifier.parse(line)
