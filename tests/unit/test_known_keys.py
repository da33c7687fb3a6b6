"""Keys of subjects in the memory of a process."""

from __future__ import annotations

from auditspan.format import Subject
from auditspan.storage.known_keys import KnownKeys
from auditspan.storage.subject_keys import SubjectKey

KIM, LEE = Subject("user", "1"), Subject("user", "2")
KEY, OTHER = SubjectKey("a", b"1"), SubjectKey("b", b"2")


def test_key_is_forgotten_after_its_time() -> None:
    """A copy of the memory has only keys that were used a moment ago."""
    now = [0.0]
    keys = KnownKeys(seconds=10, clock=lambda: now[0])
    keys.remember({KIM: KEY})
    now[0] = 9
    keys.remember({LEE: OTHER})
    assert {KIM: KEY, LEE: OTHER} == keys.find([KIM, LEE])
    now[0] = 10
    assert {LEE: OTHER} == keys.find([KIM, LEE])


def test_forgotten_key_is_not_found() -> None:
    """An erased key is forgotten at once; one that was not known may be forgotten, too."""
    keys = KnownKeys()
    keys.remember({KIM: KEY})
    keys.forget([KIM, LEE])
    assert {} == keys.find([KIM, LEE])


def test_number_of_keys_is_limited() -> None:
    """Many subjects need no more memory than some."""
    keys = KnownKeys()
    subjects = [Subject("user", str(number)) for number in range(5000)]
    for subject in subjects:
        keys.remember({subject: KEY})
    assert subjects[-1] in keys.find(subjects)
    assert len(keys.find(subjects)) <= 1000
