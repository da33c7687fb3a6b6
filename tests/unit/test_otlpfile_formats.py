"""Whatever OTLP JSON other collectors write is read; other formats are named."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import re
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from auditspan.errors import CollectorFilesError
from auditspan.telemetry.otlp.files import Damage, read_logs, read_spans

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TRACE = "0000000000000000000000000000000a"
OTHER = "000000000000000000000000000000bb"


def export(text: str, **fields: Any) -> dict[str, Any]:
    """An export of one log record."""
    record = {"traceId": TRACE, "body": {"stringValue": text}} | fields
    group = {"resource": {"attributes": []}, "scopeLogs": [{"scope": {}, "logRecords": [record]}]}
    return {"resourceLogs": [group]}


def line(text: str, **fields: Any) -> bytes:
    """An export of one log record on one line."""
    return json.dumps(export(text, **fields), separators=(",", ":")).encode() + b"\n"


def read(path: Path, **options: Any) -> tuple[list[Any], int]:
    """The bodies of the log records at `path`, and the number of damaged pieces."""
    damage = Damage()
    return [entry.body for entry in read_logs(path, damage=damage, **options)], damage.pieces


def laid_out(text: str, **options: Any) -> bytes:
    """An export over several lines."""
    return json.dumps(export(text), **{"indent": 2} | options).encode() + b"\n"


FIRST, SECOND = export("first"), export("second")
LAYOUTS = {
    "indented": laid_out("first") + laid_out("second"),
    "without indentation": laid_out("first", indent=0) + laid_out("second", indent=0),
    "CRLF": (laid_out("first") + laid_out("second")).replace(b"\n", b"\r\n"),
    "behind a compact one": line("first") + laid_out("second"),
    "before a compact one": laid_out("first") + line("second"),
    "without a newline at the end": laid_out("first") + laid_out("second").rstrip(),
    "in one list": json.dumps([FIRST, SECOND], indent=2).encode(),
    "in one list on one line": json.dumps([FIRST, SECOND]).encode(),
    "glued": laid_out("first").rstrip() + laid_out("second"),
    "broken at an odd place": line("first").replace(b'"resource":{', b'"resource":\n{')
    + line("second").replace(b'{"attributes":[]}', b'{"attributes":[]}\n'),
    "BOM": b"\xef\xbb\xbf" + laid_out("first") + line("second"),
    "another key first": b"".join(
        json.dumps({"schemaUrl": "https://x", "extra": {"a": [1]}, **e}).encode() + b"\n"
        for e in (FIRST, SECOND)
    ),
    "another key first, indented": b"".join(
        json.dumps({"extra": {"a": [1]}, **e}, indent=1).encode() + b"\n" for e in (FIRST, SECOND)
    ),
    "escaped keys": (line("first") + line("second")).replace(
        b"resourceLogs", b"resource\\u004cogs"
    ),
    "with spaces": (line("first") + line("second")).replace(b'{"', b' { "'),
}


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS)
def test_documents_in_any_layout_are_read(tmp_path: Path, content: bytes) -> None:
    """JSON may be laid out over lines, begin with any key and hold escapes: nothing is damaged."""
    (tmp_path / "audit.jsonl").write_bytes(content)
    expected = (["first", "second"], 0)
    assert expected == read(tmp_path)


@pytest.mark.parametrize("content", LAYOUTS.values(), ids=LAYOUTS)
def test_documents_in_any_layout_are_read_for_one_trace(tmp_path: Path, content: bytes) -> None:
    """The passing over of other traces loses no record, whatever the layout."""
    (tmp_path / "audit.jsonl").write_bytes(line("x", traceId=OTHER) + content)
    expected = (["first", "second"], 0)
    assert expected == read(tmp_path, trace_id=TRACE)


def test_documents_behind_one_torn_over_lines_are_read(tmp_path: Path) -> None:
    """Wherever a document of several lines is torn, the next is read and one piece is counted."""
    whole = laid_out("torn")
    (tmp_path / "audit.jsonl").touch()
    found = []
    for lines in range(3, whole.count(b"\n")):
        torn = b"\n".join(whole.split(b"\n")[:lines]) + b"\n"
        (tmp_path / "audit.jsonl").write_bytes(torn + laid_out("first") + line("second"))
        found.append(read(tmp_path))
    assert [(["first", "second"], 1)] * len(found) == found


@pytest.mark.parametrize(
    "written",
    [TRACE.upper(), TRACE.replace("a", "\\u0061"), TRACE.replace("0", "\\u0030"), "0" * 31 + "A"],
)
def test_trace_ids_in_any_spelling_are_found(tmp_path: Path, written: str) -> None:
    """A trace id may be written in capitals or as escapes."""
    content = line("wanted", traceId="WRITTEN").replace(b"WRITTEN", written.encode())
    (tmp_path / "audit.jsonl").write_bytes(line("x", traceId=OTHER) + content + line("last"))
    expected = (["wanted", "last"], 0)
    assert expected == read(tmp_path, trace_id=TRACE)


def test_a_document_of_two_signals_is_read_for_both(tmp_path: Path) -> None:
    """A document that begins with spans may hold log records, and they are read."""
    spans = {
        "resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": TRACE, "spanId": "1" * 16}]}]}]
    }
    (tmp_path / "all.jsonl").write_text(json.dumps(spans | export("wanted")) + "\n")
    expected = (["wanted"], 1)
    assert expected == (read(tmp_path)[0], len(list(read_spans(tmp_path))))


NUMBERED = ["audit.jsonl.10.gz", "audit.jsonl.9.gz", "audit.jsonl.1", "audit.jsonl"]


@pytest.mark.parametrize("names", [NUMBERED, ["audit.jsonl.gz"], ["audit.jsonl-20251231"]])
def test_rotated_files_of_other_programs_are_read_oldest_first(
    tmp_path: Path, names: list[str]
) -> None:
    """Numbered, dated and packed files are read, the highest number first, the live file last."""
    for name in names:
        pack: Callable[[bytes], bytes] = gzip.compress if name.endswith("gz") else bytes
        (tmp_path / name).write_bytes(pack(line(name)))
    assert (names, 0) == read(tmp_path)


def test_numbered_files_that_shift_meanwhile_are_read_once(tmp_path: Path) -> None:
    """If every file takes the next number during the reading, none is missed or read twice."""
    for name in ("audit.jsonl.2", "audit.jsonl.1", "audit.jsonl"):
        (tmp_path / name).write_bytes(line(name))
    bodies = []
    for entry in read_logs(tmp_path):
        bodies.append(str(entry.body))
        if entry.body == "audit.jsonl.2":
            (tmp_path / "audit.jsonl.2").rename(tmp_path / "audit.jsonl.3")
            (tmp_path / "audit.jsonl.1").rename(tmp_path / "audit.jsonl.2")
            (tmp_path / "audit.jsonl").rename(tmp_path / "audit.jsonl.1")
            (tmp_path / "audit.jsonl").write_bytes(line("new"))
    assert sorted(["audit.jsonl.2", "audit.jsonl.1", "audit.jsonl", "new"]) == sorted(bodies)


def test_gzip_is_read_whatever_the_name(tmp_path: Path) -> None:
    """The packing is recognised by the content, also in several members."""
    (tmp_path / "audit.jsonl").write_bytes(
        gzip.compress(line("first")) + gzip.compress(line("second"))
    )
    expected = (["first", "second"], 0)
    assert expected == read(tmp_path)


@pytest.mark.parametrize("damage", ["torn", "garbage behind", "checksum"])
def test_damaged_gzip_is_read_up_to_the_damage(tmp_path: Path, damage: str) -> None:
    """A gzip file that is torn or damaged gives what can be unpacked, and counts as damaged."""
    packed = gzip.compress(line("first"))
    torn = gzip.compress(line("x" * 100_000, compresslevel=0))
    content = {
        "torn": packed + torn[: len(torn) // 2],
        "garbage behind": packed + b"garbage",
        "checksum": packed[:-8] + b"\x00" * 4 + packed[-4:],
    }
    (tmp_path / "audit.jsonl.gz").write_bytes(content[damage])
    bodies, pieces = read(tmp_path)
    assert (["first"], True) == (bodies, pieces > 0)


def protobuf() -> bytes:
    """An export as the collector's file exporter writes it with `format: proto`, unprefixed."""
    document = export("first", traceId="AAAAAAAAAAAAAAAAAAAACg==")
    message = ParseDict(document, ExportLogsServiceRequest())
    packed: bytes = message.SerializeToString()
    return packed


ZSTD = b"\x28\xb5\x2f\xfd" + bytes(range(256)) * 8
FOREIGN = {
    "zstd": (ZSTD, "zstd"),
    "zstd of the collector": (len(ZSTD).to_bytes(4, "big") + ZSTD, "zstd"),
    "protobuf": (protobuf(), "protobuf"),
    "protobuf of the collector": (len(protobuf()).to_bytes(4, "big") + protobuf(), "protobuf"),
    "bzip2": (bz2.compress(line("first")), "bzip2"),
    "xz": (lzma.compress(line("first")), "xz"),
    "UTF-16": (line("first").decode().encode("utf-16"), "UTF-16"),
    "zstd in gzip": (gzip.compress(ZSTD), "zstd"),
    "other JSON": (b'{"log":"x","stream":"stdout"}\n' * 3, "JSON but not OTLP"),
    "other JSON, indented": (b'{\n  "log": [\n    "x"\n  ]\n}\n', "JSON but not OTLP"),
    "text": (b"2026-01-01 INFO LogRecord #0\nBody: Str(first)\n", "plain text"),
}


@pytest.mark.parametrize(("content", "name"), FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("trace_id", [None, TRACE])
def test_other_formats_are_an_error_that_names_them(
    tmp_path: Path, content: bytes, name: str, trace_id: str | None
) -> None:
    """A file that is not OTLP JSON is an error, never an empty one: nothing in it is lost."""
    file = tmp_path / "audit.jsonl"
    file.write_bytes(content)
    with pytest.raises(CollectorFilesError) as error:
        list(read_logs(tmp_path, trace_id=trace_id))
    assert f"{file} is " in str(error.value)
    assert name in str(error.value)


def test_zstd_files_are_refused(tmp_path: Path) -> None:
    """A rotated file that was packed with zstd is an error, not a file that is not there."""
    (tmp_path / "audit.jsonl").write_bytes(line("first"))
    (tmp_path / "audit.jsonl.1.zst").write_bytes(ZSTD)
    with pytest.raises(CollectorFilesError, match="zstd"):
        list(read_logs(tmp_path))


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00" * 5_000, b"{", b'{"resourceLo'])
def test_files_without_a_complete_document_are_not_taken_for_another_format(
    tmp_path: Path, content: bytes
) -> None:
    """A live file cut off by a crash is damage, and not an error."""
    (tmp_path / "audit.jsonl").write_bytes(content)
    assert [] == read(tmp_path)[0]


@pytest.mark.parametrize("name", ["logs.json", "otel.ndjson", "a.jsonl.2026-11-30", "audit.log"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_file_with_another_name_is_named_and_not_passed_over(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    """No row is reported as missing while its record is in a file of another name."""
    (tmp_path / name).write_bytes(pack(line("first")))
    with pytest.raises(CollectorFilesError, match=re.escape(repr(name))):
        read(tmp_path)
    expected = (["first"], 0)
    assert expected == read(tmp_path / name)


def test_file_with_another_name_beside_others_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A forgotten copy does not stop the check; files of other programs are left alone."""
    (tmp_path / "audit.jsonl").write_bytes(line("first"))
    (tmp_path / "audit.jsonl.old").write_bytes(line("older"))
    (tmp_path / "settings.json").write_text('{"resource": 1}')
    expected = (["first"], 0)
    assert expected == read(tmp_path)
    assert "1 file in" in caplog.text
    assert "'audit.jsonl.old'" in caplog.text
