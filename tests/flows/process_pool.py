"""Says statuses from the processes of Prefect's process pool."""

import os

from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner

from prefect_otel_status import bind, flow_hooks, status, task_hooks


@task(**task_hooks())
def elsewhere(number):
    status("in process {pid}", pid=os.getpid(), number=number)


@flow(**flow_hooks(), task_runner=ProcessPoolTaskRunner(max_workers=2))
def process_pool():
    with bind(model="bert", environment="prod"):
        [future.result() for future in elsewhere.map([1, 2])]


if __name__ == "__main__":
    process_pool()
