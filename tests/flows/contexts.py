"""Says one status from each place that a flow can speak from."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from prefect import flow, task

from prefect_otel_status import bind, flow_hooks, stage, status, task_hooks


@task(**task_hooks())
def in_a_task():
    status("in a task")


@task(**task_hooks())
async def in_an_async_task():
    await asyncio.sleep(0)
    status("in an async task")


@task(**task_hooks())
def in_a_generator():
    for number in range(2):
        status("in a generator", number=number)
        yield number


@task(**task_hooks())
def in_a_thread():
    thread = threading.Thread(target=lambda: status("in a thread"))
    thread.start()
    thread.join()


@task(**task_hooks())
def in_a_thread_pool():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(status, "in a thread pool").result()


@task(**task_hooks())
async def in_to_thread():
    await asyncio.to_thread(status, "in to_thread")


@task(**task_hooks())
def mapped(number):
    status("mapped {number}", number=number)


@task(**task_hooks())
def submitted():
    status("submitted")


@task(**task_hooks())
def inner_task():
    status("in an inner task")


@task(**task_hooks())
def outer_task():
    inner_task()
    status("in the outer task")


@task(**task_hooks())
def in_nested_stages():
    with stage("outer"), stage("inner"):
        status("in nested stages")
    status("after the stages")


@task(**task_hooks())
@stage("decorated")
def in_a_decorated_stage():
    status("in a decorated stage")


@flow(**flow_hooks())
def subflow():
    status("in a subflow")
    in_a_task()


@flow(**flow_hooks())
async def async_subflow():
    async with stage("async stage"):
        status("in an async subflow")


@flow(**flow_hooks())
def contexts():
    with bind(model="bert"):
        status("in the flow")
        in_a_task()
        asyncio.run(in_an_async_task())
        list(in_a_generator())
        in_a_thread()
        in_a_thread_pool()
        asyncio.run(in_to_thread())
        [future.result() for future in mapped.map([1, 2])]
        submitted.submit().result()
        outer_task()
        in_nested_stages()
        in_a_decorated_stage()
        subflow()
        asyncio.run(async_subflow())
    status("unbound again")


if __name__ == "__main__":
    contexts()
    status("outside a run")
