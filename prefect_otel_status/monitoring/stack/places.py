"""Where what stands in the stack is found by its neighbours: host names and ports."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A service of the compose file and a port that it listens on inside."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a client writes it."""
        return f"http://{self}"

    @property
    def anywhere(self) -> str:
        """What the service itself listens on: its own network, which is not published."""
        return f"0.0.0.0:{self.port}"


BRIDGE = Place("bridge", 9464)
SECOND_BRIDGE = Place("bridge-2", 9464)
COLLECTOR = Place("collector", 4317)
COLLECTOR_HTTP = Place("collector", 4318)
COLLECTOR_HEALTH = Place("collector", 13133)
COLLECTOR_METRICS = Place("collector", 8888)
JAEGER = Place("jaeger", 16686)
JAEGER_OTLP = Place("jaeger", 4317)
JAEGER_HEALTH = Place("jaeger", 13133)
JAEGER_METRICS = Place("jaeger", 8888)
PROMETHEUS = Place("prometheus", 9090)
ALERTMANAGER = Place("alertmanager", 9093)
GRAFANA = Place("grafana", 3000)
LOKI = Place("loki", 3100)
WEBHOOK = Place("webhook", 8080)
