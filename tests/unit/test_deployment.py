"""What can be said of the deployment without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_container_is_confined(name: str) -> None:
    """A read-only root, no capabilities, nothing to be gained, and not root."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in {"root", "0", "0:0"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_port_is_on_the_loopback(name: str) -> None:
    """Nothing is reachable from another machine unless somebody decides so."""
    ports = SERVICES[name].get("ports", [])
    assert ports == [port for port in ports if port.startswith("127.0.0.1:")]


def test_the_collector_runs_the_one_configuration() -> None:
    """Compose mounts the top-level file, and the image is of the version that is built here."""
    assert COMPOSE["configs"]["otel-collector"]["file"] == "./otel-collector.yaml"
    manifest = (ROOT / "deploy/collector/builder-config.yaml").read_text(encoding="utf-8")
    version = SERVICES["collector"]["image"].rpartition(":")[2]
    assert f"v{version}" in manifest


def test_no_secret_is_in_an_environment() -> None:
    """Passwords and keys are files; an environment shows in every listing of processes."""
    for service in SERVICES.values():
        environment = service.get("environment", {})
        named = [name for name in environment if "PASSWORD" in name or "SECRET" in name]
        assert named == [name for name in named if name.endswith("_FILE")]
        assert "AUDITSPAN_DATABASE_URL" not in environment


def test_the_image_is_of_an_unprivileged_user_and_says_whether_it_lives() -> None:
    """Uid 10001, a health check without a shell, an entry point without a shell."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "\nUSER 10001:10001\n" in dockerfile
    assert '\n    CMD ["python"' in dockerfile
    assert '\nENTRYPOINT ["auditspan"]\n' in dockerfile
