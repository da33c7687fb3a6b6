"""The backends that are tried: how each is started, and where it takes and shows traces."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from backends.programs import jaeger_binary, program, victorialogs_binary, zipkin_jar
from backends.running import Backend, free_ports

#: What docs/how-to/see-it-in-a-backend.md puts after a query.
READABLE = (
    '| extract_regexp \'"changes":(?P<changes>.*?),"(erasable|event_id)":\' '
    "| format '<event_name> by <audit.actor.type>/<audit.actor.id>: "
    "<audit.target.type>/<audit.target.id> <changes>' as _msg"
)

#: For a Java program that lives for a minute.
_JAVA = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


def jaeger() -> Backend:
    """Jaeger's all-in-one, which keeps traces in memory."""
    pages, otlp, *others = free_ports(8)
    others_named = [
        "collector.otlp.grpc.host-port",
        "collector.grpc-server.host-port",
        "collector.http-server.host-port",
        "collector.zipkin.host-port",
        "admin.http.host-port",
        "query.grpc-server.host-port",
    ]
    command = [
        *(str(jaeger_binary()), "--memory.max-traces=1000"),
        f"--query.http-server.host-port=127.0.0.1:{pages}",
        f"--collector.otlp.http.host-port=127.0.0.1:{otlp}",
        *(f"--{name}=127.0.0.1:{port}" for name, port in zip(others_named, others, strict=True)),
    ]
    return Backend(
        name="jaeger",
        command=command,
        url=f"http://127.0.0.1:{pages}",
        ready="/api/services",
        takes=f"http://127.0.0.1:{otlp}",
    )


def zipkin() -> Backend:
    """Zipkin, which keeps traces in memory and has its pages in the same jar."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    return Backend(
        name="zipkin",
        command=[program("java"), *_JAVA, "-jar", str(zipkin_jar())],
        environ={"QUERY_PORT": str(port)},
        url=url,
        ready="/health",
        takes=f"{url}/api/v2/spans",
    )


def victorialogs(directory: Path) -> Backend:
    """VictoriaLogs, which has logs in memory until it is ended in order."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    return Backend(
        name="victorialogs",
        command=[
            str(victorialogs_binary()),
            f"-storageDataPath={directory}",
            f"-httpListenAddr=127.0.0.1:{port}",
            "-inmemoryDataFlushInterval=1h",
        ],
        url=url,
        ready="/health",
        takes=url,
        variable="OTELCOL_LOG_BACKEND",
    )


def victorialogs_page(backend: Backend, trace_id: str) -> str:
    """Where VictoriaLogs shows the records of a trace to people, each as a readable line."""
    query = f"trace_id:={trace_id} {READABLE}"
    return f"{backend.url}/select/vmui/#/?{urlencode({'query': query, 'g0.range_input': '1h'})}"


def away() -> Backend:
    """One that is not there."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    return Backend(name="jaeger", command=[], url=url, ready="/", takes=url)


def zipkin_page(backend: Backend, trace_id: str) -> str:
    """Where Zipkin shows a trace to people."""
    return f"{backend.url}/zipkin/traces/{trace_id}"
