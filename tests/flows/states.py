"""Goes through the states that Prefect has."""

import sys
import time

from prefect import flow, get_run_logger, task
from prefect.cache_policies import INPUTS
from prefect.client.schemas.objects import State, StateType
from prefect.states import Completed, Failed

from prefect_otel_status import flow_hooks, status, task_hooks

attempts = []
mine = []


@task(**task_hooks(on_completion=[lambda task, run, state: mine.append(state.name)]), retries=2)
def retried():
    attempts.append(1)
    status("Attempt {number}", number=len(attempts))
    if len(attempts) < 3:
        raise ConnectionError("not yet")


@task(**task_hooks(), retries=1, retry_delay_seconds=0.1)
def retried_later():
    attempts.append(1)
    if len(attempts) < 5:
        raise ConnectionError("not yet")


@task(**task_hooks(), cache_policy=INPUTS, persist_result=True)
def cached(value):
    status("Computed {value}", value=value)
    return value


@task(**task_hooks())
def returns_failed():
    return Failed(message="Accuracy 0.42 is too low")


@task(**task_hooks())
def returns_completed():
    return Completed(name="Promoted", message="Promoted version 7")


@task(**task_hooks())
def raises():
    raise ValueError("password=hunter22")


@task(**task_hooks(), timeout_seconds=0.2)
def times_out():
    time.sleep(5)


@task(**task_hooks())
def needs(upstream):
    status("Never said")


@task(**task_hooks())
def logs():
    get_run_logger().info("Loaded %d rows", 12)
    get_run_logger().warning("Only %d rows", 3)


def late(task, run, state):
    status("Said by a hook that came last")


@task(**task_hooks())
def with_a_late_hook():
    status("Said in the body")


with_a_late_hook.on_completion(late)


@flow(**flow_hooks())
def states(key):
    retried()
    retried_later()
    cached(key)
    cached(key)
    returns_failed(return_state=True)
    returns_completed(return_state=True)
    raises(return_state=True)
    times_out(return_state=True)
    upstream = raises.submit()
    needs.submit(upstream).wait()
    logs()
    with_a_late_hook()
    return State(type=StateType.COMPLETED, name="Skipped", message="Nothing to deploy")


if __name__ == "__main__":
    states(sys.argv[1])
    print("own hooks:", mine)
