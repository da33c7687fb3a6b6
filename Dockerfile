# The image of auditspan: one virtual environment with locked wheels, run by one unprivileged user.
#
#   docker build --tag auditspan:local .
#
# Where packages come through a mirror or an inspecting proxy (none of it ends up in the image):
#   --build-arg PIP_INDEX_URL=…  --build-arg UV_DEFAULT_INDEX=…  the mirror, for pip and for uv, without credentials
#   --secret id=netrc,src=$HOME/.netrc                           credentials for it
#   --secret id=ca_certificates,src=/path/to/bundle.pem          the certificates to trust, all of them
#
# No `# syntax` line: the build needs nothing but the base image and the packages.

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

# Everything that is fetched is fetched here, and checked against a hash: the tools by
# deploy/build-requirements.txt, the dependencies by uv.lock. They go through an export because a
# lock file holds full addresses, and a mirror has others. Wheels only: the base has no compiler.
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

# Nothing is run in this stage: no shell is needed, and no name for the user either.
COPY --from=build /opt/venv /opt/venv
# Where data goes when nothing else is said, and where the collector's files are seen. A new volume
# that is mounted here takes the owner of the directory below it.
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

# Whether the process answers, and no more: whoever restarts what is unhealthy must not restart
# every service when the database is away. compose.yaml asks /readyz instead.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]

ENTRYPOINT ["auditspan"]
# Without the address it would listen on the container's own loopback, where nobody is.
CMD ["serve", "--host", "0.0.0.0"]
