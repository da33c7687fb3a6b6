"""Checks of deploy/kubernetes that need no cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deploy/kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((HERE / "kustomization.yaml").read_text("utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
RESOURCES: list[dict[str, Any]] = [
    resource
    for name in KUSTOMIZATION["resources"]
    for resource in yaml.safe_load_all((HERE / name).read_text("utf-8"))
]
PODS: dict[str, dict[str, Any]] = {
    resource["metadata"]["name"]: resource["spec"]["template"]["spec"]
    for resource in RESOURCES
    if "template" in resource.get("spec", {})
}
every_pod = pytest.mark.parametrize("name", sorted(PODS))


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that run, and those that run before."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def resource(kind: str, name: str) -> dict[str, Any]:
    """The one resource of this kind and name."""
    [found] = [r for r in RESOURCES if (r["kind"], r["metadata"]["name"]) == (kind, name)]
    return found


def test_every_file_is_a_resource_that_is_applied() -> None:
    """Nothing lies beside the others and is forgotten."""
    files = {path.name for path in HERE.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])


def test_the_collector_runs_the_one_configuration() -> None:
    """The configuration is the top-level file, and the second one adds nothing by default."""
    [generated] = [g for g in KUSTOMIZATION["configMapGenerator"] if g["name"] == "otel-collector"]
    sources = dict(file.split("=") for file in generated["files"])
    assert {name: (HERE / path).resolve() for name, path in sources.items()} == {
        "config.yaml": ROOT / "otel-collector.yaml",
        "backend.yaml": ROOT / "deploy/backends/none.yaml",
    }
    assert PODS["collector"]["containers"][0]["args"] == COMPOSE["services"]["collector"]["command"]


def test_the_images_are_those_of_compose() -> None:
    """One version of everything, wherever it is deployed."""
    tags = {image["name"]: image["newTag"] for image in KUSTOMIZATION["images"]}
    used = {container["image"] for pod in PODS.values() for container in containers(pod)}
    assert tags.keys() == used
    composed = [image.rpartition(":-")[2].removesuffix("}") for image in COMPOSE["x-images"]]
    assert {f"{name}:{tag}" for name, tag in tags.items()} <= set(composed)


@every_pod
def test_every_pod_is_confined(name: str) -> None:
    """As the standard `restricted` asks, and with a read-only root and no account beside."""
    pod = PODS[name]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]


def test_each_pod_gets_the_secret_of_its_role_and_no_other() -> None:
    """The service never sees the signing key, and the collector sees nothing."""
    secrets = {
        name: {v["secret"]["secretName"] for v in pod.get("volumes", []) if "secret" in v}
        for name, pod in PODS.items()
    }
    assert secrets == {
        "migrate": {"auditspan-migrator"},
        "service": {"auditspan-app"},
        "worker": {"auditspan-worker"},
        "collector": set(),
    }


def test_a_release_takes_no_pod_of_the_service_before_its_successor_is_ready() -> None:
    """Rolling update without a gap, one at least through every disruption."""
    service = resource("Deployment", "service")["spec"]
    assert service["replicas"] == 2
    assert service["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    for name in ("service", "worker"):
        assert resource("PodDisruptionBudget", name)["spec"]["minAvailable"] == 1


def test_the_door_for_audit_records_is_the_workers_alone() -> None:
    """Everything is closed; port 4319 is open to the worker only."""
    assert resource("NetworkPolicy", "nothing")["spec"]["podSelector"] == {}
    rules = resource("NetworkPolicy", "collector")["spec"]["ingress"]
    who = [
        source["podSelector"]["matchLabels"]["app.kubernetes.io/component"]
        for rule in rules
        for source in rule["from"]
        if {"protocol": "TCP", "port": 4319} in rule["ports"]
    ]
    assert who == ["worker"]


def test_a_label_selects_what_carries_it() -> None:
    """Every selector of a workload, service or budget is the labels of a pod template."""
    labels = [
        r["spec"]["template"]["metadata"]["labels"]
        for r in RESOURCES
        if "template" in r.get("spec", {})
    ]
    for each in RESOURCES:
        selector = each.get("spec", {}).get("selector", {})
        wanted = selector.get("matchLabels", selector)
        assert not wanted or wanted in labels, each["metadata"]["name"]
