"""Rendering of the templates, apart from those of the application.

The environment is the viewer's own, so that no setting of the application turns off escaping, and
none of its templates replaces one of these.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlencode

from flask import url_for
from jinja2 import Environment, PackageLoader, StrictUndefined

from auditspan.format import counted
from auditspan.reading import Event
from auditspan.viewer import plot, values, wording

_ENVIRONMENT = Environment(
    loader=PackageLoader("auditspan.viewer"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **given: object) -> str:
    """Return the text of a template."""
    return _ENVIRONMENT.get_template(template).render(**given)


def _time(event: Event) -> str:
    """Return the time of an event in UTC, to the second; after tampering, the text in the row."""
    return _clock(event.occurred_text)


def _clock(text: str) -> str:
    try:
        return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return text


def _number(value: float) -> str:
    return f"{value:,}"


def _counted(number: int, noun: str, plural: str = "") -> str:
    return counted(number, noun, plural).replace(str(number), _number(number), 1)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= 10 or not per_second else f"{per_second:.1f}/s"  # noqa: PLR2004 (a rate)


def _duration(milliseconds: float) -> str:
    if milliseconds >= 1000:  # noqa: PLR2004 (a second)
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.1f} ms"


def _age(seconds: float | None) -> str:
    """Return an age in words: ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    if seconds is None:
        return "never"
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def history_url(target_type: str, target_id: str) -> str:
    """Return the URL of a target's history; of its list, if no path can hold its type and id."""
    segments = [target_type.replace("/", "//"), *target_id.split("/")]
    if any(one in {"", ".", ".."} or "//" in one for one in segments):
        query = urlencode({"target_type": target_type, "target_id": target_id})
        return f"{url_for('.trail')}?{query}"
    return url_for(".history", target_type=target_type, target_id=target_id)


def history_url_of(event: Event) -> str:
    """Return the URL of the history of an event's target; of the trail, if it names no object."""
    target = event.target
    if target is None or target.id is None:
        return url_for(".trail")
    return history_url(target.type, target.id)


_ENVIRONMENT.filters.update(
    actor=wording.actor_name,
    age=_age,
    clock=_clock,
    counted=_counted,
    duration=_duration,
    number=_number,
    rate=_rate,
    target=wording.target_name,
    time=_time,
    value=values.value_of,
)
_ENVIRONMENT.globals.update(
    can_be_reverted=wording.can_be_reverted,
    differences=values.differences,
    history_url=history_url,
    kind_of=wording.kind_of,
    plot_width=plot.WIDTH,
    plot_height=plot.HEIGHT,
    reversed_differences=values.reversed_differences,
    sentence_of=wording.sentence_of,
    state_of=wording.state_of,
    telling=values.telling,
    url_for=url_for,
    verb_of=wording.verb_of,
)
