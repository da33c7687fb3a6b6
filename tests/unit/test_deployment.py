"""Checks of the deployment's files that need not run anything."""

from __future__ import annotations

import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from auditspan.format.mac import MacKey
from auditspan.storage.tables import audit_tables
from auditspan.trail.settings import TrailSettings
from auditspan_service.config import load_settings
from auditspan_service.models import Base

ROOT = Path(__file__).parents[2]


def text_of(path: str) -> str:
    """A file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


COMPOSE: dict[str, Any] = yaml.safe_load(text_of("compose.yaml"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = text_of("Dockerfile")
CI_WORKFLOW = ".github/workflows/ci.yaml"
BACKENDS: dict[str, dict[str, Any]] = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in (ROOT / "deploy/backends").glob("*.yaml")
}
ROLES = {"auditspan_app", "auditspan_worker", "auditspan_auditor", "auditspan_purger"}

every_service = pytest.mark.parametrize("name", sorted(SERVICES))


# -------------------------------------------------------------------------- continuous integration


def test_the_workflow_runs_every_target_of_ci_run() -> None:
    """The workflow also measures the coverage."""
    script = set(re.findall(r"^(?:make|tested) ([\w-]+)$", text_of(".ci/run"), re.MULTILINE))
    workflow = set(re.findall(r"- run: make ([\w-]+)$", text_of(CI_WORKFLOW), re.MULTILINE))
    assert script | {"coverage"} == workflow


# ------------------------------------------------------------------------------------ containers


@every_service
def test_every_container_is_confined(name: str) -> None:
    """A read-only root, no capabilities, nothing to be gained, and not root."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] not in {"root", "0", "0:0"}
    assert {"cap_add", "privileged", "pid", "ipc", "devices"} & service.keys() == set()


@every_service
def test_every_container_has_limits(name: str) -> None:
    """None can take the machine from the others, by processor, memory, processes or log."""
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert {"cpus", "memory", "pids"} == limits.keys()
    assert {"max-size", "max-file"} == service["logging"]["options"].keys()


@every_service
def test_every_port_is_on_the_loopback(name: str) -> None:
    """No port is reachable from another machine unless it is published on purpose."""
    ports = SERVICES[name].get("ports", [])
    assert ports == [port for port in ports if port.startswith("127.0.0.1:")]


def test_every_image_is_named_once_with_its_version() -> None:
    """A service takes its image from the one list, and none of them is whatever is newest."""
    listed = COMPOSE["x-images"]
    assert set(listed) == {service["image"] for service in SERVICES.values()}
    tags = [image.removesuffix("}").rpartition(":")[2] for image in listed]
    assert tags == [tag for tag in tags if re.fullmatch(r"local|\d[\w.-]*", tag)]


def test_services_restart_and_one_shots_are_awaited() -> None:
    """`up --wait` fails if a one-shot fails, because another service depends on its success."""
    one_shots = {name for name, service in SERVICES.items() if service["restart"] == "no"}
    awaited = {
        name
        for service in SERVICES.values()
        for name, how in service.get("depends_on", {}).items()
        if how["condition"] == "service_completed_successfully"
    }
    assert one_shots == awaited
    assert {"unless-stopped"} == {SERVICES[name]["restart"] for name in SERVICES.keys() - one_shots}


def test_only_our_containers_reach_the_database() -> None:
    """Its network leads nowhere, and the collector is not on it."""
    assert COMPOSE["networks"]["database"] == {"internal": True}
    on_it = {
        name for name, service in SERVICES.items() if "database" in service.get("networks", [])
    }
    assert on_it == {"postgres", "migrate", "grants", "service", "worker"}
    assert SERVICES["postgres"]["networks"] == ["database"]


# ------------------------------------------------------------------------------------- collector


def test_the_collector_runs_the_one_configuration() -> None:
    """Compose mounts the top-level file, and nothing else, where the collector looks."""
    collector = SERVICES["collector"]
    assert COMPOSE["configs"]["otel-collector"] == {"file": "./otel-collector.yaml"}
    mounted, backend = collector["configs"]
    assert [mounted["source"], backend["source"]] == ["otel-collector", "backend"]
    assert collector["command"] == ["--config", mounted["target"], "--config", backend["target"]]


def test_a_profile_has_a_configuration_of_the_collector_of_the_same_name() -> None:
    """One variable names both; without it the second configuration adds nothing."""
    assert COMPOSE["configs"]["backend"] == {
        "file": "./deploy/backends/${COMPOSE_PROFILES:-none}.yaml"
    }
    profiles = {name for service in SERVICES.values() for name in service.get("profiles", [])}
    assert profiles - BACKENDS.keys() == set()
    assert BACKENDS["none"] == {}


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_backend_changes_nothing_for_the_files(name: str) -> None:
    """Every pipeline keeps its receiver and its file, before what the overlay adds."""
    collector = yaml.safe_load(text_of("otel-collector.yaml"))
    overlay = BACKENDS[name]
    exporters = overlay.get("exporters", {})
    assert overlay.keys() <= {"extensions", "exporters", "service"}
    assert overlay.get("service", {}).keys() <= {"extensions", "pipelines"}
    assert collector["exporters"].keys() & exporters.keys() == set()
    for pipeline, changed in overlay.get("service", {}).get("pipelines", {}).items():
        assert changed.keys() == {"exporters"}
        before = collector["service"]["pipelines"][pipeline]["exporters"]
        assert before == changed["exporters"][: len(before)]
        added = changed["exporters"][len(before) :]
        assert set(added) <= exporters.keys()
        assert added


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_backend_refuses_no_audit_record(name: str) -> None:
    """An exporter added to the pipeline of the audit records has an endless queue on the disk."""
    pipelines = BACKENDS[name].get("service", {}).get("pipelines", {})
    for added in pipelines.get("logs/audit", {"exporters": []})["exporters"]:
        exporter = BACKENDS[name]["exporters"].get(added)
        if exporter is not None:
            assert exporter["sending_queue"]["storage"] in BACKENDS[name]["service"]["extensions"]
            assert exporter["retry_on_failure"]["max_elapsed_time"] == "0s"


def test_the_collector_is_of_the_version_that_is_built_here() -> None:
    """The image's tag is the version of the manifest in deploy/collector."""
    manifest = yaml.safe_load(text_of("deploy/collector/builder-config.yaml"))
    _, _, tag = SERVICES["collector"]["image"].rpartition(":")
    assert manifest["dist"]["version"] == tag


def test_only_the_collector_writes_its_files() -> None:
    """Service and worker read them; the one-shot before it looks whether it may write."""
    mounts = {
        name: volume.rpartition(":")[2] == "ro"
        for name, service in SERVICES.items()
        for volume in service.get("volumes", [])
        if volume.startswith("collector-files:")
    }
    assert mounts == {"collector": False, "collector-files": False, "service": True, "worker": True}
    writers = {SERVICES[name]["user"] for name in ("collector", "collector-files")}
    assert writers == {"10001:10001"}


# --------------------------------------------------------------------------------------- secrets


def test_no_secret_is_in_an_environment() -> None:
    """Passwords and keys are files; an environment shows in every listing of containers."""
    for service in SERVICES.values():
        environment = service.get("environment", {})
        named = [name for name in environment if re.search("PASSWORD|SECRET|TOKEN|_KEY", name)]
        assert named == [name for name in named if name.endswith("_FILE")]
        assert "AUDITSPAN_DATABASE_URL" not in environment


@pytest.mark.parametrize(
    "path", ["compose.yaml", "Dockerfile", "deploy/postgres/roles.sql", "deploy/postgres/grant.sh"]
)
def test_no_file_holds_a_password(path: str) -> None:
    """No URL with credentials stands in a file of the deployment."""
    assert re.findall(r"://[^\s/:@]+:(?!PASSWORD|\\\()[^\s@/]+@", text_of(path)) == []


def test_each_container_gets_the_secrets_it_needs_and_no_others() -> None:
    """A role's URL goes to who acts in that role, the keys to who writes rows."""
    given = {
        name: {entry if isinstance(entry, str) else entry["source"] for entry in service["secrets"]}
        for name, service in SERVICES.items()
        if "secrets" in service
    }
    urls = {f"{role}_database_url" for role in ("migrator", "app", "worker", "auditor")}
    assert given == {
        "postgres": {"postgres_password", *urls},
        "migrate": {"migrator_database_url"},
        "grants": {"migrator_database_url"},
        "service": {"app_database_url", "mac_key", "erasure_key"},
        "worker": {"worker_database_url", "mac_key", "erasure_key"},
    }


def test_the_script_makes_every_secret_once(tmp_path: Path) -> None:
    """Every secret of compose.yaml exists after one run, and is unchanged after a second."""
    first = make_secrets(tmp_path / "secrets")
    assert first == make_secrets(tmp_path / "secrets")
    assert {".gitignore", *COMPOSE["secrets"]} == first.keys()
    files = {Path(secret["file"]) for secret in COMPOSE["secrets"].values()}
    assert files == {Path("deploy/secrets", name) for name in COMPOSE["secrets"]}


def test_secrets_have_the_expected_form(tmp_path: Path) -> None:
    """The key file parses, and each URL is of its own role and no other's password."""
    secrets = make_secrets(tmp_path)
    assert secrets["mac_key"] == MacKey.parse(secrets["mac_key"]).dump()
    urls = {name: url for name, url in secrets.items() if name.endswith("_database_url")}
    for name, url in urls.items():
        role = name.removesuffix("_database_url")
        assert re.fullmatch(
            rf"postgresql://auditspan_{role}:[0-9a-f]{{48}}@postgres/auditspan\n", url
        )
        # As pydantic-settings hands over what a secret file holds.
        assert load_settings(database_url=url.strip()).database_url.startswith("postgresql+psycopg")
    assert len(urls) == len({url.partition("@")[0].rpartition(":")[2] for url in urls.values()})


def test_others_on_the_machine_cannot_reach_the_secrets(tmp_path: Path) -> None:
    """The directory is closed; the files are open, because containers run as other users."""
    make_secrets(tmp_path / "secrets")
    modes = {
        path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "secrets").iterdir()
    }
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {modes[name] for name in COMPOSE["secrets"]} == {0o444}


def make_secrets(directory: Path) -> dict[str, str]:
    """The files that the script leaves."""
    subprocess.run([ROOT / "deploy/make-secrets", directory], check=True, capture_output=True)
    return {path.name: path.read_text(encoding="ascii") for path in directory.iterdir()}


# ---------------------------------------------------------------------------------------- rights


def test_every_table_has_its_rights_written_out() -> None:
    """A new table is closed to everybody, so one that is forgotten here would stop the service."""
    audit_tables(Base.metadata)
    granted = {table for _role, table, _right in grants()}
    assert {*Base.metadata.tables, "alembic_version"} == granted


def test_no_role_may_change_the_trail() -> None:
    """Rows, leaves and checkpoints can be read and added to."""
    sealed = {"audit_event", "audit_leaf", "audit_checkpoint", "audit_quarantine"}
    rights = {right for _role, table, right in grants() if table in sealed}
    assert rights == {"SELECT", "INSERT"}
    assert {"auditspan_app", "auditspan_worker"} == who_may("INSERT", "audit_event")
    assert {"auditspan_worker"} == who_may("INSERT", "audit_leaf")


def test_service_may_insert_every_column_but_the_databases() -> None:
    """Id, transaction id and time of an audit row are not the application's to say."""
    lists = re.findall(r"INSERT \(([^)]*)\) ON audit_event", text_of("deploy/postgres/grants.sql"))
    event = audit_tables(Base.metadata).event
    theirs = {column.name for column in event.c} - {"id", "xact_id", "recorded_at"}
    for_service_and_worker = [{name.strip() for name in one.split(",")} for one in lists]
    assert [theirs, theirs] == for_service_and_worker


def grants() -> set[tuple[str, str, str]]:
    """Role, table and right, for each that grants.sql gives."""
    statements = re.findall(
        r"^GRANT ([^;]*?) ON (?!FUNCTION|SEQUENCE)([^;]*?)\s+TO ([^;]*?);",
        text_of("deploy/postgres/grants.sql"),
        re.MULTILINE | re.DOTALL,
    )
    found = {
        (role.strip(), table.strip(), right.strip())
        for rights, tables, roles in statements
        for right in re.sub(r"\([^)]*\)", "", rights).split(",")
        for table in tables.split(",")
        for role in roles.split(",")
    }
    assert {role for role, _table, _right in found} == ROLES
    return found


def who_may(right: str, table: str) -> set[str]:
    """The roles with this right on this table."""
    return {role for role, on, what in grants() if (on, what) == (table, right)}


# ----------------------------------------------------------------------------------------- image


def test_image_is_unprivileged_and_has_a_health_check() -> None:
    """Uid 10001, a health check without a shell, an entry point without a shell."""
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert "\nUSER 10001:10001\n" in final
    assert '\n    CMD ["python"' in final
    assert '\nENTRYPOINT ["auditspan"]\n' in final
    assert "\nRUN " not in final


def test_the_image_is_labelled_with_the_version_of_the_project() -> None:
    """The default of the build argument is the version in pyproject.toml."""
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    assert f"\nARG VERSION={version}\n" in DOCKERFILE


def test_build_requirements_are_pinned_by_hash() -> None:
    """The tools too: every requirement has a version and a hash, and pip insists on both."""
    lines = text_of("deploy/build-requirements.txt").replace("\\\n", "").splitlines()
    required = [line for line in lines if line.strip() and not line.startswith("#")]
    exact = re.compile(r"[\w.-]+==[\w.]+( ;[^\\]*)?\s+(--hash=sha256:[0-9a-f]{64}\s*)+")
    assert required == [line for line in required if exact.fullmatch(line)]
    assert DOCKERFILE.count("--require-hashes") == DOCKERFILE.count("--only-binary :all:") == 2


def test_the_list_of_packages_has_every_extra_of_the_image() -> None:
    """`make dist` lists the packages of the extras that the Dockerfile installs."""
    options = [re.findall(r"--extra (\w+)", text_of(name)) for name in ("Dockerfile", "Makefile")]
    assert options[0] == options[1]


def test_build_context_is_the_copied_files() -> None:
    """The list of what is let in is that of the COPY instructions: no secrets, data or history."""
    lines = text_of(".dockerignore").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert {line[1:] for line in lines if line.startswith("!")} == {
        path for paths in copied for path in paths.split()
    }


WORKER_FILES = ("auditspan-worker.service", "compose.yaml", "kubernetes.yaml")


@pytest.mark.parametrize("name", WORKER_FILES)
def test_files_of_an_applications_worker_run_it(name: str) -> None:
    """Each runs `worker` on an application, in production, with settings that exist."""
    text = text_of(f"deploy/worker/{name}")
    if name.endswith(".yaml"):
        assert all(yaml.safe_load_all(text))
    words = re.sub(r"[\[\],\"]", " ", text).split()
    place = words.index("--app")
    assert ["auditspan", "--app", "shop:trail", "worker"] == [
        words[place - 1].rpartition("/")[2],
        *words[place : place + 3],
    ]
    named = set(re.findall(r"AUDITSPAN_([A-Z_]+)", text))
    assert {"ENV", "MAC_KEY_FILE", "SIGNING_KEY_FILE"} <= named
    assert named <= {field.upper() for field in TrailSettings.model_fields}
