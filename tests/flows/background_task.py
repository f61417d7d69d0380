"""A task that a task worker runs in the background."""

import sys

from prefect import task
from prefect.task_worker import serve

from prefect_otel_status import status, task_hooks


@task(**task_hooks())
def in_the_background(number):
    status("Background {number}", number=number)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(in_the_background)
    else:
        future = in_the_background.delay(7)
        print("task run", future.task_run_id)
