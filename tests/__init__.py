"""The tests. None of them may start a server of Prefect's by accident, as its client would."""

import os

os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
