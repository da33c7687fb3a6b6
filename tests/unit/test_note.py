"""Signed notes: the vectors of Go's sumdb/note, and strictness about everything else."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditspan.tlog.note import (
    Checkpoint,
    NoteError,
    PublicKey,
    SigningKey,
    key_ids,
    open_note,
    sign_note,
)

#: Keys, text and signatures of the tests of golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
BY_PETER = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb"
    "6KE6RyyBwJnAM=\n"
)
BY_ENOCH = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33W"
    "Wd1RvMc+QQ=\n"
)
NOTE = f"{TEXT}\n{BY_PETER}{BY_ENOCH}"
KEYS = {text: PublicKey.parse(text) for text in (PETER, ENOCH)}


def test_a_signed_note_is_that_of_the_reference() -> None:
    """The published key signs the published text with the published signature."""
    assert f"{TEXT}\n{BY_PETER}" == sign_note(TEXT, [SigningKey.parse(SECRET)])


@pytest.mark.parametrize("known", [[PETER], [ENOCH], [PETER, ENOCH], [ENOCH, PETER, ENOCH]])
def test_the_signatures_of_known_keys_hold(known: list[str]) -> None:
    """Each known key is verified and named in the order of the note; unknown ones are passed."""
    opened = open_note(NOTE, [KEYS[text] for text in known])
    assert TEXT == opened.text
    assert [text for text in KEYS if text in known] == [key.vkey for key in opened.signers]


def test_keys_come_back_from_their_text() -> None:
    """Both text forms are those of the reference, and the secret is not shown."""
    key = SigningKey.parse(SECRET)
    assert (SECRET, PETER) == (key.dump(), key.public.vkey)
    assert PETER == PublicKey.parse(PETER).vkey
    assert SECRET.rpartition("+")[2] not in repr(key)
    assert repr(key.seed) not in repr(key)


@pytest.mark.parametrize(("parse", "text"), [(PublicKey.parse, PETER), (SigningKey.parse, SECRET)])
def test_a_mangled_key_is_refused(parse: type, text: str) -> None:
    """Every part of a key, and every key with one character exchanged, is none."""
    parts = {text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1)} - {text}
    parts |= {text[:i] + chr(ord(text[i]) + 1) + text[i + 1 :] for i in range(len(text))}
    for part in sorted(parts | {text + "\n", " " + text}):
        with pytest.raises(NoteError):
            parse(part)


@pytest.mark.parametrize(
    "text",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
    ids=["length", "algorithm"],
)
def test_a_key_of_another_kind_is_refused(text: str) -> None:
    """A wrong length or an unknown algorithm, with the hash adjusted, is refused."""
    with pytest.raises(NoteError):
        PublicKey.parse(text)


@pytest.mark.parametrize(
    "note",
    [
        TEXT,
        TEXT + "\n",
        f"{TEXT}\n{BY_PETER[:-1]}",
        f"\x01{TEXT}\n{BY_PETER}",
        f"\udcff{TEXT}\n{BY_PETER}",
        TEXT + "\n" + BY_PETER.replace("PeterNeumann", "Bad Name"),
        f"{TEXT}\n{BY_PETER}Unexpected line.\n",
        TEXT + "\n" + BY_PETER * 101,
        TEXT + "\n" + BY_PETER[:60] + "ABCD" + BY_PETER[60:],
        TEXT + "\n" + BY_PETER.replace("AM=", "AN="),
        f"{TEXT}\n{BY_ENOCH}",
        f"{TEXT}x\n\n{BY_PETER}",
        TEXT.replace("your", "my") + "\n" + BY_PETER,
        "",
    ],
)
def test_note_without_a_known_signature_is_refused(note: str) -> None:
    """Bad syntax, a false signature, and the lack of a known one: none of them opens."""
    with pytest.raises(NoteError):
        open_note(note, [KEYS[PETER]])


@pytest.mark.parametrize("text", ["", "abc", "a\r\n", "\0\n", "a\udc00\n"])
def test_invalid_note_text_is_not_signed(text: str) -> None:
    """A text without its newline, or with control characters, is refused before it is signed."""
    with pytest.raises(NoteError):
        sign_note(text, [SigningKey.parse(SECRET)])
    with pytest.raises(NoteError):
        sign_note(TEXT, [])


@pytest.mark.parametrize(("name", "seed"), [("a b", 32), ("a+b", 32), ("", 32), ("a", 31)])
def test_a_key_without_a_proper_name_or_secret_is_not_made(name: str, seed: int) -> None:
    """A name that could not be read back, or a secret of another length, is refused."""
    with pytest.raises(NoteError):
        SigningKey(name=name, seed=bytes(seed))


@given(
    st.integers(0, 2**63 - 1),
    st.binary(min_size=32, max_size=32),
    st.lists(st.text("abc é", min_size=1), max_size=3),
)
def test_checkpoint_is_read_back_from_its_note(size: int, root: bytes, extra: list[str]) -> None:
    """Signed by two keys, opened by either, it is the checkpoint that was signed."""
    made = Checkpoint(origin="auditspan/shop/1", size=size, root=root, extensions=tuple(extra))
    keys = [SigningKey(name="shop", seed=bytes([n]) * 32) for n in (1, 2)]
    note = sign_note(made.text(), keys)
    for key in keys:
        assert made == Checkpoint.parse(open_note(note, [key.public]).text)


def test_key_hashes_of_a_note_need_no_key() -> None:
    """In the order of the signatures; nothing is verified, and an invalid note is refused."""
    keys = [SigningKey(name="shop", seed=bytes([n]) * 32) for n in (1, 2)]
    assert [key.public.key_id for key in keys] == key_ids(sign_note("text\n", keys))
    with pytest.raises(NoteError):
        key_ids("text\n")


ROOT = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


def test_the_text_of_a_checkpoint_is_that_of_the_specification() -> None:
    """Origin, decimal size and base64 root, a line each."""
    made = Checkpoint(origin="o", size=0, root=hashlib.sha256().digest())
    assert f"o\n0\n{ROOT}\n" == made.text()


def test_the_example_of_the_format_page_verifies() -> None:
    """The note that the page shows is signed by the key that the page shows."""
    page = Path(__file__).parents[2].joinpath("docs/reference/format.md").read_text("utf-8")
    note = re.findall(r"```\n(auditspan/.*?)```", page, re.DOTALL)[0]
    vkey = re.findall(r"`(auditspan/\S+\+[0-9a-f]{8}\+\S+)`", page)[0]
    made = Checkpoint.parse(open_note(note, [PublicKey.parse(vkey)]).text)
    assert ("auditspan/3aaef6c4/1", 5) == (made.origin, made.size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n1\n",
        f"o\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"o\n01\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n1.0\n{ROOT}\n",
        f"o\n٣\n{ROOT}\n",
        f"o\n9223372036854775808\n{ROOT}\n",
        f"o\n1\n{ROOT[:-4]}\n",
        f"o\n1\n{ROOT.replace('FU=', 'FV=')}\n",
        f"o\n1\n{ROOT}\n\n",
    ],
)
def test_invalid_checkpoint_is_refused(text: str) -> None:
    """There is one spelling of a checkpoint."""
    with pytest.raises(NoteError):
        Checkpoint.parse(text)
