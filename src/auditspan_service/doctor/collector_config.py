"""Does a collector's configuration keep what the relay hands over?

An audit record is delivered when the collector answers 200. Whatever answers before the record is
in its file, drops it, or removes the file later breaks that; each is one sentence here. The rules
are those of the comments in `otel-collector.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Members = Mapping[str, Any]

_VARIABLE = re.compile(r"\$\{(?:env:)?\w+(?::-([^}]*))?\}")
_DEFAULT_PATH = "/v1/logs"
_HARMLESS = {"memory_limiter"}
_HARMFUL = {
    "batch": "answers while records are still in memory",
    "groupbytrace": "answers while records are still in memory",
    "filter": "can drop records, and answers as if it had kept them",
    "probabilistic_sampler": "drops records, and answers as if it had kept them",
    "tail_sampling": "drops records, and answers as if it had kept them",
    "logdedup": "drops records, and answers as if it had kept them",
}
_WITHOUT_QUEUE = {"file", "nop"}
"""Exporters that have no sending queue unless one is configured; all others have one by default."""


class CollectorConfigError(ValueError):
    """The configuration cannot be read; the message says why."""


def check_collector_config(texts: Sequence[str], audit_path: str) -> list[str]:
    """What is wrong with the way of audit records through this collector, in sentences.

    Args:
        texts: the configuration files as the collector gets them, later ones over earlier ones.
        audit_path: the path of the URL that audit records are posted to.

    Raises:
        CollectorConfigError: they cannot be read.
    """
    config: dict[str, Any] = {}
    for text in texts:
        config = _merged(config, _parse(text))
    pipelines = _audit_pipelines(config, audit_path)
    if not pipelines:
        sentence = (
            f"No logs pipeline has a receiver for {audit_path}: give an otlp receiver "
            f"`logs_url_path: {audit_path}` and a pipeline of its own, as otel-collector.yaml does."
        )
        return [sentence]
    return [
        sentence
        for name, pipeline in pipelines.items()
        for sentence in (
            *_processors(name, pipeline),
            *_exporters(name, pipeline, config),
        )
    ]


def _parse(text: str) -> Members:
    try:
        import yaml  # noqa: PLC0415 (only the doctor reads YAML; everything else runs without it)
    except ImportError as error:
        raise CollectorConfigError("reading it needs PyYAML: `pip install pyyaml`") from error
    try:
        # As the collector does it: a variable, or its default.
        parsed = yaml.safe_load(_VARIABLE.sub(lambda found: found[1] or "", text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise CollectorConfigError(f"it is no YAML{where}") from error
    if not isinstance(parsed, dict):
        raise CollectorConfigError("it is no collector configuration")
    return parsed


def _merged(first: Members, second: Members) -> dict[str, Any]:
    """Maps member by member, everything else replaced, as the collector merges `--config` files."""
    both = {
        name: _merged(first[name], value)
        if isinstance(first.get(name), dict) and isinstance(value, dict)
        else value
        for name, value in second.items()
    }
    return {**first, **both}


def _audit_pipelines(config: Members, audit_path: str) -> dict[str, Members]:
    """The pipelines that audit records go through, those behind a connector too."""
    every = {
        name: _members(pipeline)
        for name, pipeline in _members(_members(config.get("service")).get("pipelines")).items()
    }
    receivers = _members(config.get("receivers"))
    entrances = {name for name in receivers if _logs_path(name, receivers[name]) == audit_path}
    connectors = set(_members(config.get("connectors")))
    reached: dict[str, Members] = {}
    while entrances:
        new = {
            name: pipeline
            for name, pipeline in every.items()
            if name not in reached
            and _type(name) == "logs"
            and entrances & set(_names(pipeline, "receivers"))
        }
        reached.update(new)
        entrances = {e for p in new.values() for e in _names(p, "exporters")} & connectors
    return reached


def _logs_path(name: str, receiver: object) -> str | None:
    protocols = _members(_members(receiver).get("protocols"))
    if _type(name) != "otlp" or "http" not in protocols:
        return None
    return str(_members(protocols["http"]).get("logs_url_path", _DEFAULT_PATH))


def _processors(pipeline: str, members: Members) -> Iterator[str]:
    for name in _names(members, "processors"):
        if _type(name) in _HARMFUL:
            yield (
                f"The pipeline {pipeline} has the processor {name}, which {_HARMFUL[_type(name)]}: "
                "take it out of this pipeline."
            )
        elif _type(name) not in _HARMLESS:
            yield (
                f"The pipeline {pipeline} has the processor {name}: an audit record must get to "
                "its file as it was sent. Keep memory_limiter there and nothing else."
            )


def _exporters(pipeline: str, members: Members, config: Members) -> Iterator[str]:
    known = _members(config.get("exporters"))
    connectors = _members(config.get("connectors"))
    names = [name for name in _names(members, "exporters") if name not in connectors]
    if names and not any(_type(name) == "file" for name in names):
        yield (
            f"The pipeline {pipeline} has no file exporter: `auditspan reconcile` and "
            "`auditspan verify --witness` will have nothing to read."
        )
    for name in names:
        exporter = _members(known.get(name))
        if _queues_in_memory(name, exporter):
            yield (
                f"The exporter {name} of the pipeline {pipeline} has a sending queue in memory, "
                "which answers before anything is written and is lost with the process: set "
                "`sending_queue: {enabled: false}`."
            )
        if _type(name) == "file":
            yield from _rotation(name, exporter)


def _queues_in_memory(name: str, exporter: Members) -> bool:
    if "sending_queue" not in exporter:
        return _type(name) not in _WITHOUT_QUEUE
    queue = _members(exporter["sending_queue"])
    is_on = queue.get("enabled", True) is not False
    return is_on and not queue.get("storage") and queue.get("wait_for_result") is not True


def _rotation(name: str, exporter: Members) -> Iterator[str]:
    if "rotation" not in exporter:
        yield (
            f"The exporter {name} has no `rotation`: without it the file is truncated whenever the "
            "collector starts, and written through a buffer. Add `rotation: {max_backups: 0}`."
        )
        return
    rotation = _members(exporter["rotation"])
    for limit, default in (("max_backups", 100), ("max_days", 0)):
        value = rotation.get(limit, default)
        if value != 0:
            yield (
                f"The exporter {name} removes rotated files ({limit} is {value}): with them goes "
                f"evidence. Set `{limit}: 0` and move old files away yourself."
            )


def _type(name: str) -> str:
    return name.partition("/")[0]


def _names(pipeline: Members, kind: str) -> list[str]:
    names = pipeline.get(kind)
    return [str(name) for name in names] if isinstance(names, list) else []


def _members(value: object) -> Members:
    return value if isinstance(value, dict) else {}
