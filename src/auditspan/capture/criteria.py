"""What an UPDATE or DELETE is about, taken from the statement as it was compiled.

The ORM adds to a statement while it is compiled (inheritance, loader criteria), and a cached
compilation holds the values of an earlier statement. So criteria come from the compiled statement,
and values from the parameters of this execution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    CTE,
    BindParameter,
    ClauseElement,
    Column,
    ColumnElement,
    Table,
    and_,
    bindparam,
    or_,
    true,
)
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.visitors import iterate

from auditspan.errors import UnauditedWriteError

Parameters = Mapping[str, Any]


def where(context: DefaultExecutionContext, statement: Any) -> ColumnElement[bool]:  # noqa: ANN401
    """The rows that an UPDATE or DELETE is about, for any of its sets of parameters.

    Args:
        context: the execution in which it runs, by itself or in a common table expression.
        statement: the UPDATE or DELETE.

    Raises:
        UnauditedWriteError: that cannot be told before it runs.
    """
    criteria = and_(true(), *statement._where_criteria)  # noqa: SLF001
    require_reading(criteria)
    return or_(*(with_values(criteria, context, p) for p in context.compiled_parameters))


def require_reading(element: ClauseElement) -> None:
    """Refuse to ask beforehand what depends on rows that a write in the statement returns.

    Raises:
        UnauditedWriteError: it does.
    """
    parts = list(iterate(element))
    sources = [source for part in parts if isinstance(source := getattr(part, "table", None), CTE)]
    if any(isinstance(p, UpdateBase) for p in parts) or any(
        isinstance(part, UpdateBase) for source in sources for part in iterate(source)
    ):
        raise UnauditedWriteError(
            "this statement was refused, because it cannot be told beforehand which rows it is "
            "about: they depend on what a common table expression in it writes. Make that a "
            "statement of its own, with returning(...), and give its result to this one"
        )


def with_values(
    element: ColumnElement[Any], context: DefaultExecutionContext, parameters: Parameters
) -> ColumnElement[Any]:
    """The expression with the values that it has in this execution.

    Raises:
        UnauditedWriteError: one of them cannot be told.
    """
    compiled: Any = context.compiled
    names = {parameter.key: name for parameter, name in compiled.bind_names.items()}

    def replace(found: Any, **_kw: Any) -> Any:  # noqa: ANN401 (as SQLAlchemy calls it)
        if not isinstance(found, BindParameter):
            return None
        value = _value(found, names.get(found.key, ""), context, parameters)
        return bindparam(None, value, type_=found.type, unique=True, expanding=found.expanding)

    return visitors.replacement_traverse(element, {}, replace)  # type: ignore[call-overload, no-any-return]


def _value(
    parameter: BindParameter[Any],
    name: str,
    context: DefaultExecutionContext,
    parameters: Parameters,
) -> Any:  # noqa: ANN401
    if name in parameters:
        return parameters[name]
    expanded = context._expanded_parameters.get(name)  # noqa: SLF001 (IN, taken apart)
    if expanded is None:
        raise UnauditedWriteError(
            "this statement was refused, because it could not be told beforehand which rows it is "
            f"about (parameter {parameter.key!r}): write its value in another way"
        )
    values = [parameters[one] for one in expanded]
    width = len(getattr(parameter.type, "types", ()))
    if width:
        return [tuple(values[i : i + width]) for i in range(0, len(values), width)]
    return values


def assigned(compiled: SQLCompiler, table: Table) -> dict[Column[Any], ColumnElement[Any] | None]:
    """The columns that an UPDATE sets, with their expressions; None where a parameter has it."""
    state: Any = compiled.compile_state
    found: dict[Column[Any], ColumnElement[Any] | None] = {}
    for key, value in (state._dict_parameters or {}).items():  # noqa: SLF001
        name = key if isinstance(key, str) else key.key
        if name in table.c:
            found[table.c[name]] = value
    for name in compiled.column_keys or ():
        if name in table.c:
            found.setdefault(table.c[name], None)
    return found
