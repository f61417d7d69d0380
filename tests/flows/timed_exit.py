"""Tells how long its statuses and its shutdown took, whatever the endpoint does."""

import statistics
import time

from prefect import flow

import prefect_otel_status.runtime as runtime
from prefect_otel_status import flow_hooks, status


@flow(**flow_hooks())
def timed():
    took = []
    for number in range(500):
        start = time.perf_counter()
        status("Message {number}", number=number)
        took.append(time.perf_counter() - start)
    print(f"slowest_status_ms={1e3 * max(took)}")
    print(f"median_status_us={1e6 * statistics.median(took)}")
    return 42


if __name__ == "__main__":
    print(f"result={timed()}")
    start = time.perf_counter()
    runtime.get().shutdown()
    print(f"shutdown_seconds={time.perf_counter() - start}")
