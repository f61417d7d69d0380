"""A task without a flow, which a task worker runs in another process."""

import sys

from prefect import task
from prefect.task_worker import serve

from tests.recording.flows.kit import note, status, task_hooks


@task(**task_hooks())
def in_the_background(number):
    status("Background {number}", number=number)
    if number == 2:
        raise ValueError("two is too many")


if __name__ == "__main__":
    if sys.argv[2:] == ["serve"]:
        serve(in_the_background)
    else:
        for number in (1, 2):
            note("delayed", task_run_id=str(in_the_background.delay(number).task_run_id))
