"""What must hold of docker-compose.yml: that it can be read, and what it may and may not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prefect_otel_status.monitoring.stack import builder, places
from prefect_otel_status.monitoring.stack.places import Place
from tests.monitoring.stack.compose import (
    PROFILES,
    ROOT,
    STACKS,
    compose,
    config,
    example,
    filled,
    mounts,
    profile_sets,
    services,
    variables_used,
)

PASSWORDS = {"GRAFANA_ADMIN_PASSWORD": "one", "POSTGRES_PASSWORD": "other"}

GRAFANA_DIGEST = "sha256:83749231c3835e390a3144e5e940203e42b9589761f20ef3169c716e734ad505"
OURS = "prefect-otel-status:local"
IMAGES = {
    "alertmanager": "prom/alertmanager:v0.34.0",
    "bridge": OURS,
    "bridge-2": OURS,
    "collector": "otel/opentelemetry-collector-contrib:0.159.0",
    "folders": OURS,
    "grafana": f"grafana/grafana:12.4.2@{GRAFANA_DIGEST}",
    "jaeger": "jaegertracing/jaeger:2.20.0",
    "loki": "grafana/loki:3.7.7",
    "postgres": "postgres:17.11",
    "prefect": "prefecthq/prefect:3.8.8-python3.12",
    "prometheus": "prom/prometheus:v3.14.0",
    "redis": "redis:8.10.0-alpine",
    "webhook": OURS,
    "worker": OURS,
}
"""Tags that exist: somebody has seen each of them in use. A new one is looked up first."""

PUBLISHED = {
    "alertmanager": ["127.0.0.1:9093:9093"],
    "bridge": ["127.0.0.1:9464:9464"],
    "collector": ["127.0.0.1:4317:4317", "127.0.0.1:4318:4318"],
    "grafana": ["127.0.0.1:3000:3000"],
    "jaeger": ["127.0.0.1:16686:16686"],
    "prefect": ["127.0.0.1:4200:4200"],
    "prometheus": ["127.0.0.1:9090:9090"],
    "webhook": ["127.0.0.1:8080:8080"],
}

CHECKED_BY = {
    "alertmanager": "amtool",
    "grafana": "wget",
    "jaeger": "wget",
    "loki": "/usr/bin/loki",
    "postgres": "pg_isready",
    "prefect": "python",
    "prometheus": "promtool",
    "redis": "redis-cli",
    **dict.fromkeys(("bridge", "bridge-2", "webhook", "worker"), "python"),
}
"""A program that the image of each service has: not all of them have a shell."""

ONCE, UNASKABLE = "folders", "collector"
"""The service that ends by itself, and the one whose image has nothing to check it with."""


# --- what docker-compose says -----------------------------------------------------
@pytest.mark.parametrize("profiles", profile_sets(), ids="+".join)
def test_docker_compose_reads_it(tmp_path: Path, profiles: tuple[str, ...]) -> None:
    done = config(tmp_path, {**example(), **PASSWORDS}, *profiles)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("missing", PASSWORDS)
@pytest.mark.parametrize("as_in_the_example", [True, False])
def test_without_a_password_it_says_which_and_where(
    tmp_path: Path, missing: str, as_in_the_example: bool
) -> None:
    env = {**example(), **PASSWORDS}
    env[missing] = ""
    if not as_in_the_example:
        del env[missing]
    done = config(tmp_path, env)
    sentence = f"Set {missing} in .env, which begins as a copy of .env.example."
    assert done.returncode != 0
    assert sentence in done.stderr


def test_the_example_of_env_has_every_variable_and_no_secret() -> None:
    assert set(example()) == variables_used() | {"COMPOSE_PROFILES"}
    assert {name: text for name, text in example().items() if name in PASSWORDS} == dict.fromkeys(
        PASSWORDS, ""
    )


def test_profiles_are_what_the_documentation_says() -> None:
    found = {name: s["profiles"] for name, s in services().items() if "profiles" in s}
    assert found == {
        "webhook": ["webhook"],
        "loki": ["logs"],
        "bridge-2": ["ha"],
        "redis": ["ha"],
    }
    assert {name for names in found.values() for name in names} == set(PROFILES)


# --- what a container may do ------------------------------------------------------
def test_images_are_the_ones_that_exist() -> None:
    assert {name: service["image"] for name, service in services().items()} == IMAGES
    assert {name for name, s in services().items() if s.get("build") == "."} == {
        name for name, image in IMAGES.items() if image == OURS
    }


def test_the_collectors_image_is_the_release_that_its_builder_checks() -> None:
    assert IMAGES["collector"].rpartition(":")[2] == builder.VERSION


def test_only_loopback_is_published() -> None:
    assert {name: s["ports"] for name, s in services().items() if "ports" in s} == PUBLISHED


@pytest.mark.parametrize("name", services())
def test_a_container_can_do_no_more_than_it_must(name: str) -> None:
    service = services()[name]
    once = name == ONCE
    assert {key: service.get(key) for key in _HARDENED} == {
        **_HARDENED,
        "restart": "no" if once else "unless-stopped",
        "cap_add": ["CHOWN"] if once else None,
        "network_mode": "none" if once else None,
        "logging": service["logging"],
    }
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["mem_limit"].endswith(("m", "g"))
    assert 0 < service["pids_limit"] <= 512


_HARDENED: dict[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "restart": None,
    "cap_add": None,
    "privileged": None,
    "network_mode": None,
    "pid": None,
    "devices": None,
    "logging": None,
}


def test_nobody_but_who_hands_over_the_folders_is_root() -> None:
    users = {name: s["user"] for name, s in services().items() if "user" in s}
    # The others' images name a user who is not root: 10001, `nobody` or 472.
    assert users == {
        "folders": "0:0",
        "postgres": "postgres",
        "prefect": "10001:10001",
        "redis": "redis",
    }


def test_no_admin_interface_is_open() -> None:
    words = " ".join(str(service.get("command", "")) for service in services().values())
    assert "enable-admin-api" not in words
    assert "enable-lifecycle" not in words
    grafana = services()["grafana"]["environment"]
    assert grafana["GF_AUTH_ANONYMOUS_ENABLED"] == grafana["GF_USERS_ALLOW_SIGN_UP"] == "false"


def test_prometheus_keeps_exemplars() -> None:
    assert "--enable-feature=exemplar-storage" in services()["prometheus"]["command"]


# --- how they hang together -------------------------------------------------------
def test_every_service_is_checked_by_a_program_that_its_image_has() -> None:
    checks = {name: s["healthcheck"]["test"] for name, s in services().items() if _is_checked(s)}
    assert {name: test[:2] for name, test in checks.items()} == {
        name: ["CMD", command] for name, command in CHECKED_BY.items()
    }
    assert set(services()) - set(checks) == {ONCE, UNASKABLE}


def _is_checked(service: dict[str, Any]) -> bool:
    check = service.get("healthcheck", {})
    return bool(check) and not check.get("disable")


@pytest.mark.parametrize("name", services())
def test_a_service_waits_until_what_it_needs_is_healthy(name: str) -> None:
    wanted = {ONCE: "service_completed_successfully", UNASKABLE: "service_started"}
    for needed, how in services()[name].get("depends_on", {}).items():
        assert how == {"condition": wanted.get(needed, "service_healthy")}
        # Who is always started must not need what only a profile starts.
        assert "profiles" not in services()[needed]


def test_every_volume_is_declared_and_used() -> None:
    used = {
        source for s in services().values() for source, _, _ in mounts(s) if source[0] not in "./"
    }
    assert used == set(compose()["volumes"])


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_mounted_is_in_the_project_and_cannot_be_written(stack: str) -> None:
    for service in services().values():
        for source, _, mode in mounts(service):
            if source.startswith("."):
                assert (ROOT / filled(source, stack=stack)).is_dir(), source
                assert mode == "ro", source
            else:
                assert "/" not in source, "a volume, and nothing of the machine's own"
    assert (ROOT / filled(services()["prefect"]["env_file"], stack=stack)).is_file()


def test_configurations_are_where_they_are_looked_for() -> None:
    for service in services().values():
        for word in map(str, service.get("command", ())):
            path = word.rpartition("=")[2]
            if word.startswith(("--config", "-config")):
                assert (ROOT / _source_of(service, path)).is_file(), word


def _source_of(service: dict[str, Any], path: str) -> str:
    folder, _, name = path.rpartition("/")
    (source,) = [source for source, target, _ in mounts(service) if target == folder]
    return f"{source}/{name}"


def test_host_names_in_configurations_are_services() -> None:
    known = [place for place in vars(places).values() if isinstance(place, Place)]
    assert {place.host for place in known} <= set(services())
    published = {
        (name, int(port.rpartition(":")[2])) for name, ports in PUBLISHED.items() for port in ports
    }
    own = published - {("prefect", 4200)}  # nobody's configuration but the clients' environment
    assert own <= {(place.host, place.port) for place in known}


def test_the_bridges_share_a_store_and_answer_to_their_names() -> None:
    one, other = (services()[name]["environment"] for name in ("bridge", "bridge-2"))
    assert one == other
    assert one["PREFECT_OTEL_STATUS_ALLOWED_HOSTS"].split(",") == ["bridge", "bridge-2"]
    assert one["PREFECT_OTEL_STATUS_STORE"] == "postgresql+asyncpg://bridge@postgres:5432/bridge"
    assert one["PGPASSWORD"].startswith("${POSTGRES_PASSWORD:?")
