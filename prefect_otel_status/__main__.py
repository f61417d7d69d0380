"""`python -m prefect_otel_status`, the same as the command `prefect-otel-status`."""

from prefect_otel_status.cli import main

if __name__ == "__main__":
    main()
