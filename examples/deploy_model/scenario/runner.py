"""The demo's runner: `python -m examples.deploy_model.scenario.runner <api>`.

It imports the flow while the server starts, which takes both of them seconds.
"""

from __future__ import annotations

import sys

from examples.deploy_model.scenario.processes import wait_until
from examples.deploy_model.scenario.server import Server
from examples.deploy_model.serve import serve

if __name__ == "__main__":
    wait_until("The start of the server", Server(sys.argv[1]).is_healthy, seconds=120)
    serve()
