"""The file of the MAC key: made once, whole, and for its owner's eyes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auditspan.errors import KeyFileError
from auditspan.storage.keys import load_or_create_mac_key
from auditspan_service.config import load_settings
from auditspan_service.services import open_services, silent_telemetry
from support.service import running_service, settings_at


def test_made_once(tmp_path: Path) -> None:
    """The first use makes it, closed to others; every later one reads the same."""
    path = tmp_path / "keys" / "mac.key"
    first = load_or_create_mac_key(path, create=True)
    text = path.read_text()
    assert load_or_create_mac_key(path, create=True) == first
    assert load_or_create_mac_key(path, create=False) == first
    assert path.read_text() == text
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [file.name for file in path.parent.iterdir()] == ["mac.key"]


def test_made_at_the_same_moment(tmp_path: Path) -> None:
    """Whoever makes it at the same moment gets the same key."""
    path = tmp_path / "mac.key"
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: load_or_create_mac_key(path, create=True), range(32)))
    assert len({key.secret for key in keys}) == 1


def test_missing_key_file_is_not_created(tmp_path: Path) -> None:
    """Where it must be there and is not, the error says what to do."""
    path = tmp_path / "mac.key"
    with pytest.raises(KeyFileError, match="auditspan keys init"):
        load_or_create_mac_key(path, create=False)
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"hunter2", b"\xff\xfe", b"auditspan-mac-v1 00000000 " + b"0" * 64],
    ids=["empty", "words", "no text", "wrong id"],  # the ids stand in the path
)
def test_damaged(tmp_path: Path, content: bytes) -> None:
    """A damaged file is an error, is left as it is, and is not shown."""
    path = tmp_path / "mac.key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError) as caught:
        load_or_create_mac_key(path, create=True)
    assert str(path) in caught.value.message
    assert "hunter2" not in caught.value.message
    assert path.read_bytes() == content


def test_directory_in_its_place(tmp_path: Path) -> None:
    """What cannot be read is an error with its reason."""
    with pytest.raises(KeyFileError, match="cannot be used: Is a directory"):
        load_or_create_mac_key(tmp_path, create=True)


def test_shared_database_needs_its_key(tmp_path: Path) -> None:
    """The embedded database gets a key by itself; a shared one never does."""
    embedded = load_settings(data_dir=tmp_path / "embedded")
    open_services(embedded, silent_telemetry()).database.dispose()
    assert embedded.mac_key_file.exists()
    shared = load_settings(data_dir=tmp_path / "shared", database_url="postgresql://db/x")
    with pytest.raises(KeyFileError):
        open_services(shared, silent_telemetry())


def test_rows_are_signed_with_it(sqlite_url: str, tmp_path: Path) -> None:
    """Every row carries the id of the key and its MAC over the body."""
    settings = settings_at(tmp_path / "data", sqlite_url)
    with running_service(settings) as service:
        service.issue("admin")
        rows = service.tables()["audit_event"]
        key = load_or_create_mac_key(settings.mac_key_file, create=False)
        columns = [column.name for column in service.services.trail.tables.event.columns]
    for row in rows:
        stored = dict(zip(columns, row, strict=True))
        assert stored["mac_key_id"] == key.key_id
        assert key.verifies(stored["body"], stored["mac"])
