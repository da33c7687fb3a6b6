"""Checks that a collector's configuration keeps every delivered record.

An audit record counts as delivered when the collector answers 200. A component that answers before
the record is in its file, drops the record, or removes the file later breaks that; each such
problem is one sentence. The rules are those in the comments of `otel-collector.yaml`.
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
    "filter": "can drop records and still acknowledge them",
    "probabilistic_sampler": "drops records and still acknowledges them",
    "tail_sampling": "drops records and still acknowledges them",
    "logdedup": "drops records and still acknowledges them",
}
_WITHOUT_QUEUE = {"file", "nop"}
"""Exporters without a sending queue by default; all others have one."""


class CollectorConfigError(ValueError):
    """Error for a configuration that cannot be read; the message gives the reason."""


def check_collector_config(texts: Sequence[str], audit_path: str) -> list[str]:
    """Return the problems of the collector's audit pipelines, in sentences.

    Args:
        texts: the configuration files in the collector's order; later ones override earlier ones.
        audit_path: the path of the URL that audit records are posted to.

    Raises:
        CollectorConfigError: a file cannot be read.
    """
    config: dict[str, Any] = {}
    for text in texts:
        config = _merged(config, _parse(text))
    pipelines = _audit_pipelines(config, audit_path)
    if not pipelines:
        sentence = (
            f"No logs pipeline has a receiver for {audit_path}: configure an otlp receiver with "
            f"`logs_url_path: {audit_path}` and its own pipeline, as in otel-collector.yaml."
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
        import yaml
    except ImportError as error:
        raise CollectorConfigError("PyYAML is not installed: run `pip install pyyaml`") from error
    try:
        # Like the collector, but every variable has its default value.
        parsed = yaml.safe_load(_VARIABLE.sub(lambda found: found[1] or "", text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise CollectorConfigError(f"invalid YAML{where}") from error
    if not isinstance(parsed, dict):
        raise CollectorConfigError("invalid collector configuration: expected a mapping")
    return parsed


def _merged(first: Members, second: Members) -> dict[str, Any]:
    """Merge maps recursively and replace other values, as the collector merges its files."""
    both = {
        name: _merged(first[name], value)
        if isinstance(first.get(name), dict) and isinstance(value, dict)
        else value
        for name, value in second.items()
    }
    return {**first, **both}


def _audit_pipelines(config: Members, audit_path: str) -> dict[str, Members]:
    """Return the pipelines of audit records, including those behind a connector."""
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
                "remove it from this pipeline."
            )
        elif _type(name) not in _HARMLESS:
            yield (
                f"The pipeline {pipeline} has the processor {name}, but audit records must reach "
                "their file unchanged. Use no processor except memory_limiter."
            )


def _exporters(pipeline: str, members: Members, config: Members) -> Iterator[str]:
    known = _members(config.get("exporters"))
    connectors = _members(config.get("connectors"))
    names = [name for name in _names(members, "exporters") if name not in connectors]
    if names and not any(_type(name) == "file" for name in names):
        yield (
            f"The pipeline {pipeline} has no file exporter: `auditspan reconcile` and "
            "`auditspan verify --witness` have no files to read."
        )
    for name in names:
        exporter = _members(known.get(name))
        if _queues_in_memory(name, exporter):
            yield (
                f"The exporter {name} of the pipeline {pipeline} has a sending queue in memory, "
                "which acknowledges records before they are written and loses them in a crash: set "
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
            f"The exporter {name} has no `rotation`: the collector truncates the file at every "
            "start and buffers writes. Add `rotation: {max_backups: 0}`."
        )
        return
    rotation = _members(exporter["rotation"])
    for limit, default in (("max_backups", 100), ("max_days", 0)):
        value = rotation.get(limit, default)
        if value != 0:
            yield (
                f"The exporter {name} removes rotated files ({limit} is {value}), which destroys "
                f"evidence. Set `{limit}: 0` and archive old files yourself."
            )


def _type(name: str) -> str:
    return name.partition("/")[0]


def _names(pipeline: Members, kind: str) -> list[str]:
    names = pipeline.get(kind)
    return [str(name) for name in names] if isinstance(names, list) else []


def _members(value: object) -> Members:
    return value if isinstance(value, dict) else {}
