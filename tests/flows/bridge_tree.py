"""Runs that are watched by a bridge: with our code, without any, or beside another's OpenTelemetry.

`bridge_tree.py FLOW [TIMES]`, with `BRIDGE_VARIANT`; prints the ids of its root runs.
"""

import os
import sys
import threading

from prefect import flow, task
from prefect.context import FlowRunContext

VARIANT = os.environ.get("BRIDGE_VARIANT", "ours")

if VARIANT == "ours":
    from prefect_otel_status import flow_hooks, stage, status, task_hooks
else:
    from tests.recording.flows.silent import flow_hooks, stage, status, task_hooks


def set_up_foreign():
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@task(**task_hooks())
def step(number):
    status("Step {number}", number=number)


@flow(**flow_hooks())
def below():
    step(0)


@flow(**flow_hooks())
def tree():
    print(FlowRunContext.get().flow_run.id, flush=True)
    status("Started")
    with stage("evaluate"):
        step.map([1, 2, 3]).wait()
    below()
    status("Ready")


@flow(**flow_hooks())
def small():
    print(FlowRunContext.get().flow_run.id, flush=True)
    below()


@task(**task_hooks())
def endless():
    status("Waiting for the end")
    threading.Event().wait(2.5)
    os.kill(os.getpid(), 9)


@flow(**flow_hooks())
def killed():
    print(FlowRunContext.get().flow_run.id, flush=True)
    status("Started")
    step(1)
    with stage("evaluate"):
        endless()


@flow(**flow_hooks())
def leaving():
    step(1)
    sys.exit(3)


if __name__ == "__main__":
    chosen = {one.fn.__name__: one for one in (tree, small, killed, leaving)}[sys.argv[1]]
    if VARIANT == "foreign":
        set_up_foreign()
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1):
        chosen()
