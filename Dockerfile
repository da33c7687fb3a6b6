# The image of auditspan: one virtual environment with locked wheels, run by one unprivileged user.
#
#   docker build --tag auditspan:local .
#
# If packages come through a mirror or an inspecting proxy (nothing of this is in the image):
#   --build-arg PIP_INDEX_URL=…  --build-arg UV_DEFAULT_INDEX=…  the mirror, for pip and for uv, without credentials
#   --secret id=netrc,src=$HOME/.netrc                           credentials for it
#   --secret id=ca_certificates,src=/path/to/bundle.pem          all certificates to trust
#
# No `# syntax` line: it would be one more image to download.

ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS build
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV PATH=/opt/build/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /build

# This is the only step that downloads, and it checks hashes: of the tools in deploy/build-requirements.txt,
# of the dependencies in uv.lock. The lock file is exported first because it has full addresses, which a
# mirror does not serve. Wheels only: the base image has no compiler.
COPY deploy/build-requirements.txt pyproject.toml uv.lock ./
RUN --mount=type=secret,id=ca_certificates \
    --mount=type=secret,id=netrc,target=/root/.netrc \
    set -eu; \
    ca=/run/secrets/ca_certificates; \
    if [ -s "$ca" ]; then export PIP_CERT="$ca" SSL_CERT_FILE="$ca"; fi; \
    python3 -m venv /opt/build; \
    pip install --quiet --no-cache-dir --require-hashes --only-binary :all: \
        --requirement build-requirements.txt; \
    uv export --quiet --frozen --no-dev --extra service --extra postgres --extra jwt --extra kafka --extra redis \
        --no-emit-project --no-annotate --output-file requirements.txt; \
    python3 -m venv --without-pip /opt/venv; \
    uv pip install --python /opt/venv --require-hashes --no-deps --only-binary :all: \
        --compile-bytecode --requirement requirements.txt

COPY LICENSE README.md otel-collector.yaml ./
COPY deploy/collector deploy/collector
COPY src src
RUN set -eu; \
    uv build --quiet --wheel --offline --no-build-isolation --python /opt/build --out-dir dist; \
    uv pip install --python /opt/venv --offline --no-deps --compile-bytecode dist/*.whl; \
    mkdir /opt/empty


FROM ${BASE_IMAGE}
ARG BASE_IMAGE=python:3.13-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="auditspan" \
      org.opencontainers.image.description="A verifiable audit trail for Flask and SQLAlchemy, exported through OpenTelemetry" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"

# This stage runs nothing, so it needs neither a shell nor a name for the user.
COPY --from=build /opt/venv /opt/venv
# The default data directory, and the mount point of the collector's files. A new volume takes the owner
# of the directory on which it is mounted.
COPY --from=build --chown=10001:10001 /opt/empty /var/lib/auditspan
COPY --from=build --chown=10001:10001 /opt/empty /var/lib/otelcol

ENV PATH=/opt/venv/bin:$PATH \
    HOME=/var/lib/auditspan \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AUDITSPAN_DATA_DIR=/var/lib/auditspan
WORKDIR /var/lib/auditspan
USER 10001:10001
EXPOSE 8000

# Liveness only: a lost database must not make an orchestrator restart every service. compose.yaml
# asks /readyz instead.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]

ENTRYPOINT ["auditspan"]
# The default address is the container's loopback, which nothing outside can reach.
CMD ["serve", "--host", "0.0.0.0"]
