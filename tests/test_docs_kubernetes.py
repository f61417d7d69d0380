"""The page about Kubernetes: its manifests fit the schemas and each other, and the bridge them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.console import DOCS, blocks_of
from tests.support.processes import beside, program
from tests.support.server import free_port, wait_for

PAGE = DOCS / "how-to" / "kubernetes.md"
NAME = "prefect-otel-bridge"
RELEASES = ("1.29", kubernetes_validate.latest_version())
"""Of Kubernetes: one that is old by now, and the newest whose schemas there are."""

TOKEN = "0123456789abcdef0123456789abcdef"
POD = "10.1.2.3"

SERVICE_MONITOR: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["endpoints", "selector"],
            "properties": {
                "jobLabel": {"type": "string"},
                "selector": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {"matchLabels": {"type": "object"}},
                },
                "endpoints": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "port": {"type": "string"},
                            "interval": {"type": "string", "pattern": r"^\d+s$"},
                            "authorization": {
                                "type": "object",
                                "properties": {
                                    "credentials": {
                                        "type": "object",
                                        "required": ["name", "key"],
                                    }
                                },
                            },
                            "metricRelabelings": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "properties": {
                                        "action": {"enum": ["labeldrop", "replace"]},
                                        "regex": {"type": "string"},
                                        "targetLabel": {"type": "string"},
                                        "replacement": {"type": "string"},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The part of the Prometheus Operator's definition that the page uses."""


def _block(language: str, begin: str) -> str:
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if block.startswith(begin)]
    return str(found)


def _manifests() -> dict[str, Any]:
    documents = yaml.safe_load_all(_block("yaml", "# bridge.yml"))
    return {document["kind"]: document for document in documents}


def _container() -> Any:
    (container,) = _manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    return container


@pytest.mark.parametrize("release", RELEASES)
def test_the_manifests_fit_the_schemas(release: str) -> None:
    found = _manifests()
    assert list(found) == ["Secret", "PersistentVolumeClaim", "Deployment", "Service"]
    for manifest in found.values():
        kubernetes_validate.validate(manifest, release, strict=True)


@pytest.mark.parametrize("release", RELEASES)
def test_what_postgres_changes_fits_too(release: str) -> None:
    deployment = _manifests()["Deployment"]
    deployment["spec"] |= yaml.safe_load(_block("yaml", "# In the Deployment"))
    environment = yaml.safe_load(_block("yaml", "# In the container's env"))
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] += environment
    kubernetes_validate.validate(deployment, release, strict=True)


def test_a_misspelt_field_would_be_seen() -> None:
    deployment = _manifests()["Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, RELEASES[1], strict=True)


def test_the_parts_know_each_other() -> None:
    found, container = _manifests(), _container()
    pod = found["Deployment"]["spec"]["template"]
    labels = {"app.kubernetes.io/name": NAME}
    assert {one["metadata"]["name"] for one in found.values()} == {NAME}
    assert pod["metadata"]["labels"] == labels
    assert found["Service"]["spec"]["selector"] == labels
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    secrets = [
        one["valueFrom"]["secretKeyRef"]
        for one in container["env"]
        if "secretKeyRef" in one.get("valueFrom", {})
    ]
    assert {(one["name"], one["key"]) for one in secrets} == {(NAME, "prefect-api-key")}
    assert set(found["Secret"]["stringData"]) == {"token", "prefect-api-key"}


def test_it_is_one_replica_that_leaves_before_the_next_comes() -> None:
    spec = _manifests()["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["template"]["spec"]["securityContext"]["runAsUser"] == 10001  # as in the Dockerfile


def test_the_service_monitor_is_one_and_finds_the_service() -> None:
    monitor = yaml.safe_load(_block("yaml", "# servicemonitor.yml"))
    jsonschema.validate(monitor, SERVICE_MONITOR)
    service, secret = _manifests()["Service"], _manifests()["Secret"]
    (endpoint,) = monitor["spec"]["endpoints"]
    labels = service["metadata"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"] == labels
    # The job by which rules and panels select.
    assert labels[monitor["spec"]["jobLabel"]] == NAME
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    credentials = endpoint["authorization"]["credentials"]
    assert credentials["name"] == secret["metadata"]["name"]
    assert credentials["key"] in secret["stringData"]
    assert {"targetLabel": "instance", "replacement": NAME} in endpoint["metricRelabelings"]


def test_promtool_reads_the_scrape(tmp_path: Path) -> None:
    token, config = tmp_path / "token", tmp_path / "prometheus.yml"
    token.write_text(TOKEN, encoding="utf-8")
    text = _block("yaml", "# prometheus.yml")
    assert f"/run/secrets/{NAME}/token" in text
    config.write_text(text.replace(f"/run/secrets/{NAME}/token", str(token)), encoding="utf-8")
    command = [program("promtool"), "check", "config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.server
def test_the_bridge_answers_probes_and_prometheus_as_the_manifest_starts_it(
    flow_env: dict[str, str], tmp_path: Path
) -> None:
    port = free_port()
    arguments = [argument.replace("9464", str(port)) for argument in _container()["args"]]
    command = [sys.executable, "-m", "prefect_otel_status", *arguments]
    env = flow_env | _environment(tmp_path) | {"PREFECT_API_URL": flow_env["PREFECT_API_URL"]}
    address = f"http://127.0.0.1:{port}"
    with beside(command, env=env, log=tmp_path / "bridge.log"):
        wait_for(lambda: _code(address, "/healthz") == 200, timeout=60, what="the bridge")
        wait_for(lambda: _code(address, "/readyz", POD) == 200, timeout=60, what="readiness")
        scrape = {"Authorization": f"Bearer {TOKEN}"}
        service = "prefect-otel-bridge.monitoring.svc"
        # What each of them is answered: a probe, Prometheus by pod and by service, a stranger.
        assert {
            "probe": _code(address, "/healthz", f"{POD}:9464"),
            "scrape of the pod": _code(address, "/metrics", f"{POD}:9464", **scrape),
            "scrape of the service": _code(address, "/metrics", f"{service}:9464", **scrape),
            "without the token": _code(address, "/metrics", POD),
            "by another name": _code(address, "/metrics", "evil.example", **scrape),
        } == {
            "probe": 200,
            "scrape of the pod": 200,
            "scrape of the service": 200,
            "without the token": 401,
            "by another name": 421,
        }


def _environment(folder: Path) -> dict[str, str]:
    """The container's variables, as Kubernetes fills them in; the token where it can be here."""
    token = folder / "token"
    token.write_text(TOKEN, encoding="utf-8")
    (volume,) = [
        volume["secret"]
        for volume in _manifests()["Deployment"]["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    ]
    os.chmod(token, volume["defaultMode"])
    given = {one["name"]: one["value"] for one in _container()["env"] if "value" in one}
    given.pop("OTEL_EXPORTER_OTLP_ENDPOINT")
    given["PREFECT_OTEL_STATUS_WEB_TOKEN_FILE"] = str(token)
    given["PREFECT_API_KEY"] = _manifests()["Secret"]["stringData"]["prefect-api-key"]
    return {name: value.replace("$(POD_IP)", POD) for name, value in given.items()}


def _code(address: str, path: str, host: str = "127.0.0.1", **headers: str) -> int | None:
    try:
        return httpx.get(address + path, headers={"Host": host, **headers}, timeout=60).status_code
    except httpx.TransportError:
        return None


@pytest.mark.long
@pytest.mark.server
@pytest.mark.timeout(300)
def test_the_template_of_a_pool_carries_the_variables(
    flow_env: dict[str, str], tmp_path: Path
) -> None:
    program("jq")
    wanted = json.loads(_block("json", "{"))
    (tmp_path / "env.json").write_text(json.dumps(wanted), encoding="utf-8")
    (block,) = [block for block in blocks_of(PAGE) if "work-pool" in block.commands[0].text]
    # A pool of another name: that of the page is also the runbooks'.
    commands = [command.text for command in block.commands]
    script = "\n".join(commands).replace("create kubernetes ", "create of-the-page ")
    path = f"{Path(sys.executable).parent}{os.pathsep}{flow_env['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", script],
        env={**flow_env, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    address = f"{flow_env['PREFECT_API_URL']}/work_pools/of-the-page"
    template = httpx.get(address, timeout=60).json()["base_job_template"]
    assert template["variables"]["properties"]["env"]["default"] == wanted
    assert template["job_configuration"]["env"] == "{{ env }}"
