"""Says as many distinct things as the first argument says; prints the scrape that follows."""

import sys

from prometheus_client import CollectorRegistry, generate_latest

import prefect_otel_status.runtime as runtime_module
from prefect_otel_status import status
from prefect_otel_status.runtime import Runtime
from prefect_otel_status.settings import Settings


def main(count: int, budget: int) -> None:
    registry = CollectorRegistry()
    settings = Settings(
        label_budget=budget,
        metrics=False,
        log_events=False,
        log_lines=False,
        run_log=False,
        prefect_events=False,
    )
    runtime = runtime_module.use(Runtime(settings, registry=registry))
    for number in range(count):
        letters = chr(97 + number % 26) * (1 + number // 26 % 60) + str(number)
        status("Said {value} " + letters, value=number, stage=letters)
    assert runtime.recorder.stop(100)
    sys.stdout.buffer.write(generate_latest(registry))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
