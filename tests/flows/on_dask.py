"""Says statuses from the workers of a Dask cluster in processes of its own."""

import os

from prefect import flow, task
from prefect_dask import DaskTaskRunner

from prefect_otel_status import bind, flow_hooks, status, task_hooks

CLUSTER = {"n_workers": 1, "threads_per_worker": 2, "processes": True, "dashboard_address": None}


@task(**task_hooks())
def elsewhere(number):
    status("in process {pid}", pid=os.getpid(), number=number)


@flow(**flow_hooks(), task_runner=DaskTaskRunner(cluster_kwargs=CLUSTER))
def on_dask():
    with bind(model="bert", environment="prod"):
        [future.result() for future in elsewhere.map([1, 2])]


if __name__ == "__main__":
    on_dask()
