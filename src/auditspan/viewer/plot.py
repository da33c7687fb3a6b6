"""Small plots, as coordinates of an SVG drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 300.0
HEIGHT = 72.0
_INSET = 3.0


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Plot of a value over time.

    Attributes:
        title: the meaning of the value.
        lowest, highest, latest: values with their unit.
        points: the coordinates of the line, as `points` of a polyline has them.
    """

    title: str
    lowest: str
    highest: str
    latest: str
    points: str


def plot(
    title: str, series: Sequence[tuple[float, float]], *, unit: str = "", from_zero: bool = True
) -> Plot | None:
    """Return the plot of a series of times and values; None with fewer than two of them.

    Args:
        title: the meaning of the value.
        series: times in seconds and values, in time order.
        unit: the unit of the values, written after each.
        from_zero: whether the axis begins at 0 instead of at the lowest value.
    """
    if len(series) < 2:  # noqa: PLR2004 (a line)
        return None
    values = [value for _, value in series]
    low, high = (0.0 if from_zero else min(values)), max(values)
    first, last = series[0][0], series[-1][0]
    points = [
        (_scaled(at, first, last, WIDTH), HEIGHT - _scaled(value, low, high, HEIGHT))
        for at, value in series
    ]
    return Plot(
        title=title,
        lowest=_shown(low, unit),
        highest=_shown(high, unit),
        latest=_shown(values[-1], unit),
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points),
    )


def _scaled(value: float, low: float, high: float, length: float) -> float:
    room = length - 2 * _INSET
    return _INSET + (room * (value - low) / (high - low) if high > low else 0.0)


def _shown(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if value.is_integer() else f"{value:,.2f}"
    return number + unit
