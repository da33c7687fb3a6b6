"""The checks of a collector's configuration by the doctor."""

from __future__ import annotations

import pytest

from auditspan.cli.doctor.collector_config import CollectorConfigError, check_collector_config
from auditspan_service.collector import config_file

PATH = "/v1/audit"
OURS = config_file().read_text(encoding="utf-8")
PIPELINE = "processors: [memory_limiter]\n      exporters: [file/audit, debug]"


def replaced(old: str, new: str) -> str:
    """Our configuration with one place changed."""
    assert 1 == OURS.count(old)
    return OURS.replace(old, new)


def pipeline(processors: str = "memory_limiter", exporters: str = "file/audit, debug") -> str:
    """Our configuration with another audit pipeline."""
    return replaced(PIPELINE, f"processors: [{processors}]\n      exporters: [{exporters}]")


def overlay(text: str) -> list[str]:
    """Return the findings about our configuration with this one merged into it."""
    return check_collector_config([OURS, text], PATH)


def test_our_configuration_has_no_problems() -> None:
    """There is nothing to say of the configuration that comes with auditspan."""
    assert [] == check_collector_config([OURS], PATH)


PROCESSORS = {
    "batch": "answers while records are still in memory",
    "batch/mine": "answers while records are still in memory",
    "filter": "can drop records",
    "probabilistic_sampler": "drops records",
    "tail_sampling": "drops records",
    "logdedup": "drops records",
    "transform": "must reach their file unchanged",
}


@pytest.mark.parametrize("processor", PROCESSORS)
def test_processors(processor: str) -> None:
    """Whatever stands between receiver and file, but for the memory limiter, is named."""
    (said,) = check_collector_config([pipeline(f"memory_limiter, {processor}")], PATH)
    assert f"The pipeline logs/audit has the processor {processor}" in said
    assert PROCESSORS[processor] in said


def test_processors_of_other_pipelines_are_their_own_affair() -> None:
    """Only what audit records go through is looked at."""
    assert [] == overlay("service: {pipelines: {logs: {processors: [batch]}}}")


QUEUES = {
    "{}": True,
    "{enabled: true}": True,
    "{enabled: '${env:QUEUE:-true}'}": True,
    "{enabled: false}": False,
    "{enabled: true, storage: file_storage}": False,
    "{enabled: true, wait_for_result: true}": False,
}


@pytest.mark.parametrize("exporter", ["file/audit", "otlphttp/backend", "debug/other"])
@pytest.mark.parametrize("queue", QUEUES)
def test_sending_queues(exporter: str, queue: str) -> None:
    """A queue in memory answers too early; one on disk, or one that waits, does not."""
    said = overlay(
        f"exporters: {{{exporter}: {{sending_queue: {queue}}}}}\n"
        f"service: {{pipelines: {{logs/audit: {{exporters: [file/audit, {exporter}]}}}}}}"
    )
    is_named = [f"The exporter {exporter} of the pipeline logs/audit" in one for one in said]
    assert QUEUES[queue] == any(is_named), said


def test_a_queue_that_is_there_by_default() -> None:
    """An exporter to another collector has one unless it is told not to; a file has none."""
    (said,) = overlay(
        "exporters: {otlp: {endpoint: 'x:4317'}}\n"
        "service: {pipelines: {logs/audit: {exporters: [file/audit, otlp]}}}"
    )
    assert "The exporter otlp of the pipeline logs/audit has a sending queue in memory" in said


ROTATION = "    rotation:\n      max_megabytes: 100\n      max_backups: 0\n\n  file/traces:"
ROTATIONS = {
    "": "has no `rotation`",
    "rotation: {}": "max_backups is 100",
    "rotation:": "max_backups is 100",
    "rotation: {max_backups: 7}": "max_backups is 7",
    "rotation: {max_backups: 0, max_days: 30}": "max_days is 30",
}


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_rotation(rotation: str) -> None:
    """Without rotation the file is truncated at start; with a limit the oldest evidence goes."""
    changed = replaced(ROTATION, f"    {rotation}\n\n  file/traces:")
    (said,) = check_collector_config([changed], PATH)
    assert said.startswith("The exporter file/audit ")
    assert ROTATIONS[rotation] in said


def test_no_file_at_all() -> None:
    """Records that are in no file cannot be reconciled."""
    (said,) = check_collector_config([pipeline(exporters="debug")], PATH)
    assert "The pipeline logs/audit has no file exporter" in said


def test_no_audit_receiver() -> None:
    """A missing receiver is the only finding."""
    (said,) = check_collector_config([OURS], "/v1/elsewhere")
    assert "No logs pipeline has a receiver for /v1/elsewhere" in said
    (said,) = overlay("service: {pipelines: {logs/audit: {receivers: [otlp]}}}")
    assert "No logs pipeline has a receiver for /v1/audit" in said


def test_the_ordinary_receiver_can_be_the_one() -> None:
    """By its path a receiver is known, not by its name; the ordinary one has the ordinary path."""
    assert [] == check_collector_config([OURS], "/v1/logs")
    (said,) = check_collector_config(
        [OURS, "service: {pipelines: {logs: {processors: [batch]}}}"], "/v1/logs"
    )
    assert "The pipeline logs has the processor batch" in said


def test_behind_a_connector() -> None:
    """A pipeline that audit records get to by a connector is looked at as well."""
    said = overlay(
        "connectors: {forward: null}\n"
        "processors: {batch: null}\n"
        "service: {pipelines: {logs/audit: {exporters: [forward]},"
        " logs/behind: {receivers: [forward], processors: [batch], exporters: [file/audit]}}}"
    )
    assert ["The pipeline logs/behind has the processor batch"] == [
        one.partition(",")[0] for one in said
    ]


@pytest.mark.parametrize("text", ["[", "a: b: c", "- 1", "", "\x00"])
def test_invalid_configuration_is_refused(text: str) -> None:
    """It is refused with a reason, not taken for one in which nothing is wrong."""
    with pytest.raises(CollectorConfigError, match="invalid"):
        check_collector_config([text], PATH)


@pytest.mark.parametrize(
    "text",
    ["service: 1", "receivers: [otlp]", "service: {pipelines: {logs/audit: {receivers: 7}}}"],
)
def test_shapes_that_no_collector_takes(text: str) -> None:
    """They are not our affair: the collector refuses them; the doctor must not fall over them."""
    assert check_collector_config([text], PATH)
