"""Says a lot at once, some of it an error; the second argument may be a trace's address."""

from prefect import flow, task

from prefect_otel_status import flow_hooks, status, task_hooks


@task(**task_hooks())
def chatty_task():
    for number in range(50):
        status("Task message {number}", number=number)


@flow(**flow_hooks())
def chatty():
    for number in range(200):
        status("Message {number}", number=number)
    status("It went wrong", level="error")
    chatty_task()
    status("Done")


if __name__ == "__main__":
    chatty()
