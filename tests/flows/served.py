"""A long-lived serve() process that Prometheus scrapes, with the counts of its flows' processes."""

import os
import sys

from prefect import flow, task
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from prefect_otel_status import bind, flow_hooks, gate, stage, status, task_hooks


@task(**task_hooks())
def score(accuracy):
    status("Scored {accuracy:.0%}", accuracy=accuracy, progress=0.5)


@flow(**flow_hooks())
def served_model(accuracy: float = 0.9, killed: bool = False):
    with bind(environment="prod"), stage("evaluate"):
        score(accuracy)
        if killed:
            os.kill(os.getpid(), 9)
        if not gate("accuracy", score=accuracy, threshold=0.8):
            raise RuntimeError("not good enough")


if __name__ == "__main__":
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    start_http_server(int(sys.argv[1]), addr="127.0.0.1", registry=registry)
    served_model.serve(name="prod", print_starting_message=False, pause_on_shutdown=False)
