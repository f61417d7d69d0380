"""Four deployments against a Prefect server of their own, and what was told of them.

`python -m examples.deploy_model.demo` from the project's folder. Everything it
makes is in `.demo/` of the current folder; nothing is left running.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run the demo; returns the exit code."""
    from examples.deploy_model.scenario.demo import run_demo

    return run_demo()


if __name__ == "__main__":
    if not __package__:  # run by its path: then this folder stands where the project's belongs
        sys.path[0] = str(ROOT)
    sys.exit(main())
