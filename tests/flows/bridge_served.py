"""Serves flows as deployments: one whose process is killed, and one that leaves."""

from prefect import serve

from tests.flows.bridge_tree import killed, leaving

if __name__ == "__main__":
    serve(
        killed.to_deployment(name="bridge"),
        leaving.to_deployment(name="bridge"),
        pause_on_shutdown=False,
        print_starting_message=False,
    )
