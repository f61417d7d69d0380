"""What `import prefect_otel_status` adds to `import prefect`: CPU of a new process.

`python -m benchmarks.import_cost [--rounds 15]`. Three processes in turns: Prefect alone, with
this package, and with the OpenTelemetry SDK and its HTTP exporter, which we leave for the first
export.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

from benchmarks.rounds import in_turns, report

SIDES = {
    "import prefect": "import prefect",
    "and prefect_otel_status": "import prefect, prefect_otel_status",
    "and all its names": (
        "import prefect, prefect_otel_status as p; [getattr(p, name) for name in p.__all__]"
    ),
    "and the SDK with its OTLP/HTTP exporter": (
        "import prefect, opentelemetry.sdk.trace.export;"
        "import opentelemetry.exporter.otlp.proto.http.trace_exporter"
    ),
}


def cpu_of(code: str) -> float:
    """Milliseconds of CPU that a new process takes for CODE."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    sides = {name: (lambda code=code: cpu_of(code)) for name, code in SIDES.items()}
    found = in_turns(sides, rounds=rounds)
    bare, ours, *_ = SIDES
    report("Import, CPU", found, of=ours, to=bare, unit="ms")
    for name in list(SIDES)[1:]:
        added = sorted(a - b for a, b in zip(found[name], found[bare], strict=True))
        print(f"  {name} adds {added[len(added) // 2]:.1f} ms")


if __name__ == "__main__":
    main()
