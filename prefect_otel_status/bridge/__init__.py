"""The bridge: every run of a Prefect server as a complete trace and in exact counters."""
