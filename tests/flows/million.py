"""Says as many distinct things as the first argument says."""

import sys

from prefect import flow

import prefect_otel_status.runtime as runtime
from prefect_otel_status import bind, flow_hooks, stage, status


@flow(**flow_hooks())
def million(count: int):
    for number in range(count):
        letters = _letters(number)
        status(f"Distinct {letters} {number}", stage=letters)
        if number % 2000 == 0:
            runtime.get().recorder.flush(30)  # the flow's own work would take this time
    for number in range(300):
        with stage(f"stage-{_letters(number)}"), bind(environment=f"env-{_letters(number)}"):
            status("In a stage")


def _letters(number: int) -> str:
    letters = ""
    while True:
        letters += chr(97 + number % 26)
        number //= 26
        if number == 0:
            return letters


if __name__ == "__main__":
    million(int(sys.argv[1]))
