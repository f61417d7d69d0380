# The image of the bridge, and of the example that gives it something to see.
#
#   docker build -t prefect-otel-status .
#   docker run --rm -e PREFECT_API_URL=http://prefect.example:4200/api prefect-otel-status

# --- what is installed, and with what -------------------------------------------
FROM python:3.12-slim AS build

# A proxy's certificate may be in the system's store.
ENV UV_SYSTEM_CERTS=1 UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never PIP_NO_CACHE_DIR=1
RUN python -m pip install --quiet uv==0.11.33

WORKDIR /build
COPY pyproject.toml requirements.lock ./
# The lock is for development too. What the image needs is taken out of it: the same versions, and
# the lock's own hashes, which uv keeps of a file that it finds in the place of its output.
# Wheels only, so that nothing is compiled and nothing runs at installation.
RUN cp requirements.lock runtime.lock \
 && uv pip compile --quiet pyproject.toml --extra demo --constraint requirements.lock \
      --only-binary :all: --generate-hashes --no-annotate --no-header --no-emit-index-url \
      -o runtime.lock \
 && uv venv --quiet /opt/venv \
 && uv pip install --quiet --python /opt/venv/bin/python --require-hashes --only-binary :all: \
      --compile-bytecode -r runtime.lock

COPY README.md LICENSE ./
COPY docs/runbooks docs/runbooks
COPY prefect_otel_status prefect_otel_status
RUN uv pip install --quiet --python /opt/venv/bin/python --no-deps --compile-bytecode .

# --- what runs --------------------------------------------------------------------
FROM python:3.12-slim

# By number, so that Kubernetes can see that it is not root.
RUN groupadd --gid 10001 bridge \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/prefect-otel-status bridge \
 && install -d -o 10001 -g 10001 -m 0750 /var/lib/prefect-otel-status

COPY --from=build /opt/venv /opt/venv
COPY examples /opt/prefect-otel-status/examples

# The root file system may be read-only: what is written goes to the volume, and to /tmp. A home is
# named, since a user whose number the image does not know would have none, and Prefect asks for it.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/var/lib/prefect-otel-status \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PREFECT_HOME=/tmp/prefect \
    PREFECT_OTEL_STATUS_FOLDER=/var/lib/prefect-otel-status
WORKDIR /opt/prefect-otel-status
VOLUME /var/lib/prefect-otel-status
USER 10001:10001
EXPOSE 9464

# `/healthz` says whether the process lives; whether it works is `/readyz`, for people and alerts:
# a bridge whose server is away is right to wait, and a restart would not help.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]

ENTRYPOINT ["prefect-otel-status"]
CMD ["bridge"]
