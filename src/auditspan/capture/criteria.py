"""What an UPDATE or DELETE is about, taken from the statement as it was compiled.

The ORM adds to a statement while it is compiled (inheritance, loader criteria), and a cached
compilation holds the values of an earlier statement. So criteria come from the compiled statement,
and values from the parameters of this execution.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BindParameter, Column, ColumnElement, Table, and_, bindparam, or_, true
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler

from auditspan.errors import UnauditedWriteError

Parameters = Mapping[str, Any]


def where(context: DefaultExecutionContext) -> ColumnElement[bool]:
    """The rows that an UPDATE or DELETE is about, for any of its sets of parameters."""
    compiled: Any = context.compiled
    criteria = and_(true(), *compiled.compile_state.statement._where_criteria)  # noqa: SLF001
    return or_(*(with_values(criteria, context, p) for p in context.compiled_parameters))


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
