"""A flow that knows nothing of us."""

from prefect import flow, get_run_logger, task


@task
def greet(name):
    get_run_logger().info("Greeting %s", name)
    if name == "nobody":
        raise ValueError("nobody to greet")
    return f"Hello {name}"


@flow
def plain(name: str = "Ada"):
    return greet(name)


if __name__ == "__main__":
    import sys

    if sys.argv[1:] == ["serve"]:
        plain.serve(name="served", print_starting_message=False, pause_on_shutdown=False)
    else:
        print(plain())
