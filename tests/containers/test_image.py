"""The image, looked at from outside."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from typing import Any

from containers.stack import DOCKER, IMAGE, ROOT, docker

MEGABYTE = 1_000_000
OWN_LAYERS = 140 * MEGABYTE


def inspected(image: str) -> dict[str, Any]:
    """What the engine knows of an image."""
    found: dict[str, Any] = json.loads(docker("image", "inspect", image))[0]
    return found


def in_image(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run something in a container of the image that has nothing but the image."""
    confined = ["--read-only", "--cap-drop", "ALL", "--network", "none", "--rm"]
    return subprocess.run(
        [DOCKER, "run", *confined, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_our_own_layers_are_small() -> None:
    """Less than 140 MB over the base image; the Kafka client needs 20 of them."""
    base = re.findall(r"^ARG BASE_IMAGE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[0]
    own = inspected(IMAGE)["Size"] - inspected(base)["Size"]
    assert own < OWN_LAYERS, f"{own / MEGABYTE:.0f} MB"


def test_image_has_labels_user_port_and_health_check() -> None:
    """The labels name the version of the project; user, port and health check are set."""
    config = inspected(IMAGE)["Config"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["auditspan"]
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_it_runs_with_nothing_but_the_image() -> None:
    """Read-only, without capabilities, without a network: the command line answers."""
    done = in_image(IMAGE, "--version")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("auditspan")


def test_there_is_no_compiler_and_no_build_tool() -> None:
    """Nothing in the final stage can fetch or build a package into the environment."""
    program = (
        "import importlib.util as u, shutil; "
        "print([n for n in ('cc', 'gcc', 'c++', 'uv') if shutil.which(n)], "
        "[m for m in ('pip', 'hatchling', 'uv', 'pytest') if u.find_spec(m)])"
    )
    done = in_image("--entrypoint", "python", IMAGE, "-c", program)
    assert (done.stdout, done.stderr) == ("[] []\n", "")


def test_no_build_argument_or_certificate_stayed_in_it() -> None:
    """The history of the final image names no index, no secret and no certificate."""
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE)
    ours = history.partition("org.opencontainers.image.title")[0]
    assert re.findall(r"INDEX|ca_certificates|netrc|://[^\s/]+:[^\s/]+@", ours) == []
    environment = " ".join(inspected(IMAGE)["Config"]["Env"])
    assert re.findall(r"INDEX|PASSWORD|TOKEN", environment) == []
