"""Each type of column, written in each way: the trail has one form for one stored value."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Double,
    Engine,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    Time,
    Unicode,
    Uuid,
    insert,
    literal_column,
    text,
    update,
)
from sqlalchemy import Enum as EnumType
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, registry
from sqlalchemy.types import TypeDecorator

from integration.capture.application import Application, make_application

BOTH = ("sqlite", "postgresql")


class Colour(Enum):
    """Members whose values are not their names."""

    RED = "r"
    BLUE = "b"


class Flag(TypeDecorator[bool]):
    """A truth value by a type of the application."""

    impl = Boolean
    cache_ok = True


@dataclass(frozen=True, kw_only=True)
class Case:
    """A type, a value of it, and what the trail has of that.

    Attributes:
        sql: the same value in SQL.
        told: the form in the body, by database where they store it differently.
    """

    type: Any
    value: Any
    sql: str | dict[str, str]
    told: Any
    on: tuple[str, ...] = BOTH


def here(of: Any, engine: Engine) -> Any:
    """What holds on this database."""
    is_split = isinstance(of, dict) and of.keys() <= set(BOTH)
    return of[engine.dialect.name] if is_split else of


MOMENT = datetime.fromisoformat("2026-01-02T03:04:05.000006")
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
ONE = ("postgresql",)
BYTES = {"sqlite": "x'00FF'", "postgresql": "'\\x00ff'::bytea"}
ZONED = {"sqlite": "2026-01-02T03:04:05.000006", "postgresql": "2026-01-02T03:04:05.000006Z"}
SQL_ZONED = {
    "sqlite": "'2026-01-02 03:04:05.000006'",
    "postgresql": "'2026-01-02 05:04:05.000006+02'::timestamptz",
}
SQL_ID = {"sqlite": f"'{ID.hex}'", "postgresql": f"'{ID}'::uuid"}
SPAN = {"sqlite": "'1970-01-03 00:00:03.500000'", "postgresql": "'2 days 3.5 seconds'::interval"}
ASCII = {"sqlite": '\'{"a": [1, "x"]}\'', "postgresql": '\'{"a": [1, "x"]}\'::json'}
FRACTION = {"sqlite": "'{\"a\": 1.5}'", "postgresql": "'{\"a\": 1.5}'::json"}
WIDE = 2**62

CASES = {
    "integer": Case(type=Integer(), value=7, sql="7", told=7),
    "small integer": Case(type=SmallInteger(), value=-7, sql="-7", told=-7),
    "big integer": Case(type=BigInteger(), value=WIDE, sql=str(WIDE), told=str(WIDE)),
    "boolean": Case(type=Boolean(), value=True, sql="true", told=True),
    "false": Case(type=Boolean(), value=False, sql="false", told=False),
    "decorated boolean": Case(type=Flag(), value=True, sql="true", told=True),
    "float": Case(type=Float(), value=0.1, sql="0.1", told="0.1"),
    "whole float": Case(type=Float(), value=2.0, sql="2.0", told="2.0"),
    "small float": Case(type=Double(), value=5e-324, sql="5e-324", told="5e-324"),
    "infinite float": Case(
        type=Double(),
        value=float("inf"),
        sql={"sqlite": "9e999", "postgresql": "'infinity'::float8"},
        told="inf",
    ),
    "single": Case(type=postgresql.REAL(), value=1.1, sql="1.1::real", told="1.1", on=ONE),
    "no number": Case(type=Double(), value=float("nan"), sql="'nan'::float8", told="nan", on=ONE),
    "numeric of scale": Case(type=Numeric(10, 2), value=Decimal("2.50"), sql="2.50", told="2.5"),
    "whole numeric": Case(type=Numeric(10, 2), value=Decimal(100), sql="100", told="100"),
    "numeric": Case(type=Numeric(), value=Decimal("1.10"), sql="1.10", told="1.10", on=ONE),
    "huge numeric": Case(
        type=Numeric(), value=Decimal("1e40"), sql="1e40", told="1" + "0" * 40, on=ONE
    ),
    "numeric NaN": Case(
        type=Numeric(), value=Decimal("NaN"), sql="'NaN'::numeric", told="NaN", on=ONE
    ),
    "string": Case(type=String(20), value="Zoë", sql="'Zoë'", told="Zoë"),
    "text": Case(type=Text(), value='a"b\\c\n', sql="'a\"b\\c\n'", told='a"b\\c\n'),
    "unicode": Case(type=Unicode(), value="😀", sql="'😀'", told="😀"),
    "empty": Case(type=Text(), value="", sql="''", told=""),
    "padded": Case(
        type=CHAR(5),
        value="ab",
        sql="'ab'",
        told={"sqlite": "ab", "postgresql": "ab   "},
    ),
    "date": Case(
        type=Date(),
        value=date(2026, 1, 2),
        sql={"sqlite": "'2026-01-02'", "postgresql": "'2026-01-02'::date"},
        told="2026-01-02",
    ),
    "time": Case(
        type=Time(),
        value=time(3, 4, 5),
        sql={"sqlite": "'03:04:05.000000'", "postgresql": "'03:04:05'::time"},
        told="03:04:05.000000",
    ),
    "timestamp": Case(
        type=DateTime(),
        value=MOMENT,
        sql={"sqlite": f"'{MOMENT}'", "postgresql": f"'{MOMENT}'::timestamp"},
        told=MOMENT.isoformat(),
    ),
    "timestamp with a zone": Case(
        type=DateTime(timezone=True),
        value=MOMENT.replace(tzinfo=UTC),
        sql=SQL_ZONED,
        told=ZONED,
    ),
    "interval": Case(
        type=Interval(), value=timedelta(days=2, seconds=3.5), sql=SPAN, told="P2DT3.5S"
    ),
    "interval of months": Case(
        type=postgresql.INTERVAL(),
        value=literal_column("interval '1 year 2 mons 3 days'"),
        sql="interval '1 year 2 mons 3 days'",
        told="P14M3DT0S",
        on=ONE,
    ),
    "bytes": Case(type=LargeBinary(), value=b"\0\xff", sql=BYTES, told="AP8="),
    "uuid": Case(type=Uuid(), value=ID, sql=SQL_ID, told=str(ID)),
    "enum": Case(
        type=EnumType(Colour, native_enum=False), value=Colour.RED, sql="'RED'", told="RED"
    ),
    "native enum": Case(
        type=EnumType(Colour, name="colour"),
        value=Colour.BLUE,
        sql={"sqlite": "'BLUE'", "postgresql": "'BLUE'::colour"},
        told="BLUE",
    ),
    "json": Case(type=JSON(), value={"a": [1, "x"]}, sql=ASCII, told={"a": [1, "x"]}),
    "json with a fraction": Case(
        type=JSON(), value={"a": 1.5}, sql=FRACTION, told={"$json": '{"a":1.5}'}
    ),
    "jsonb": Case(
        type=postgresql.JSONB(),
        value={"b": 1, "a": None},
        sql='\'{"b": 1, "a": null}\'::jsonb',
        told={"a": None, "b": 1},
        on=ONE,
    ),
    "array": Case(type=ARRAY(Integer()), value=[1, 2], sql="ARRAY[1, 2]", told=[1, 2], on=ONE),
    "array of texts": Case(
        type=ARRAY(Text()), value=["a", None], sql="ARRAY['a', NULL]", told=["a", None], on=ONE
    ),
    "address": Case(
        type=postgresql.INET(),
        value="10.0.0.1",
        sql="'10.0.0.1'::inet",
        told="10.0.0.1",
        on=ONE,
    ),
    "range": Case(
        type=postgresql.INT4RANGE(),
        value=postgresql.Range(1, 5),
        sql="'[1,5)'::int4range",
        told="[1,5)",
        on=ONE,
    ),
    "infinite date": Case(
        type=Date(),
        value=literal_column("'infinity'::date"),
        sql="'infinity'::date",
        told="infinity",
        on=ONE,
    ),
    "date before Christ": Case(
        type=DateTime(timezone=True),
        value=literal_column("'0044-03-15 12:00+00 BC'::timestamptz"),
        sql="'0044-03-15 12:00+00 BC'::timestamptz",
        told="0044-03-15T12:00:00.000000Z BC",
        on=ONE,
    ),
    "sqlite's json": Case(type=sqlite.JSON(), value=[1], sql="'[1]'", told=[1], on=("sqlite",)),
}

Way = Callable[[Session, Any, Case, Engine], None]


def by_object(session: Session, thing: Any, case: Case, _engine: Engine) -> None:
    """The unit of work inserts."""
    session.add(thing(id=1, value=case.value))


def by_assignment(session: Session, thing: Any, case: Case, _engine: Engine) -> None:
    """The unit of work updates."""
    session.add(made := thing(id=1))
    session.flush()
    made.value = case.value


def by_core_insert(session: Session, thing: Any, case: Case, _engine: Engine) -> None:
    """A Core statement inserts."""
    session.connection().execute(insert(thing.__table__).values(id=1, value=case.value))


def by_bulk_update(session: Session, thing: Any, case: Case, _engine: Engine) -> None:
    """A statement updates the rows that it finds."""
    session.add(thing(id=1))
    session.flush()
    session.execute(
        update(thing).values(value=case.value), execution_options={"synchronize_session": False}
    )


def by_upsert(session: Session, thing: Any, case: Case, engine: Engine) -> None:
    """An upsert meets the row."""
    session.add(thing(id=1))
    session.flush()
    dialect = sqlite if engine.dialect.name == "sqlite" else postgresql
    made = dialect.insert(thing.__table__).values(id=1, value=case.value)
    changed = made.on_conflict_do_update(index_elements=["id"], set_={"value": case.value})
    session.execute(changed)


def by_text_insert(session: Session, thing: Any, case: Case, engine: Engine) -> None:
    """SQL as text inserts."""
    literal, name = here(case.sql, engine).replace(":", r"\:"), thing.__table__.name
    session.execute(text(f"INSERT INTO {name} (id, value) VALUES (1, {literal})"))  # noqa: S608


def by_text_update(session: Session, thing: Any, case: Case, engine: Engine) -> None:
    """SQL as text updates."""
    session.add(thing(id=1))
    session.flush()
    literal, name = here(case.sql, engine).replace(":", r"\:"), thing.__table__.name
    session.execute(text(f"UPDATE {name} SET value = {literal}"))  # noqa: S608


WAYS = [
    by_object,
    by_assignment,
    by_core_insert,
    by_bulk_update,
    by_upsert,
    by_text_insert,
    by_text_update,
]


def application_of(engine: Engine, cases: dict[str, Case]) -> tuple[Application, dict[str, Any]]:
    """An application with a model for each case, which has one column of the type."""
    metadata = MetaData()
    base = registry(metadata=metadata).generate_base()
    things = {}
    for number, (name, case) in enumerate(cases.items()):
        columns = Column("id", Integer, primary_key=True), Column("value", case.type)
        table = Table(f"thing_{number}", metadata, *columns)
        things[name] = type(f"Thing{number}", (base,), {"__audit__": True, "__table__": table})
    return make_application(engine, metadata), things


def values(events: list[dict[str, Any]], member: str) -> list[str]:
    """The last value of each table in JSON, since for Python True is 1."""
    last = {event["target"]["type"]: event["changes"]["value"] for event in events}
    return [json.dumps(value[member]) for value in last.values()]


def test_a_stored_value_has_one_form_by_every_way_of_writing(engine: Engine) -> None:
    """As the table of this file has it; the state check agrees, and a deletion tells the same."""
    cases = {name: case for name, case in CASES.items() if engine.dialect.name in case.on}
    application, things = application_of(engine, cases)
    told = {name: json.dumps(here(case.told, engine)) for name, case in cases.items()}
    for way in WAYS:
        before = len(application.events())
        for name, case in cases.items():
            with application.unit_of_work() as session:
                way(session, things[name], case, engine)
        application.check()
        with application.unit_of_work() as session:
            for thing in things.values():
                session.execute(text(f"DELETE FROM {thing.__table__.name}"))  # noqa: S608
        events = application.events()[before:]
        written, deleted = events[: -len(cases)], events[-len(cases) :]
        assert told == dict(zip(cases, values(written, "new"), strict=True)), way.__name__
        assert told == dict(zip(cases, values(deleted, "old"), strict=True)), way.__name__
