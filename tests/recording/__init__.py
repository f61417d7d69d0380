"""Records what a real Prefect server knows of real runs: the data in tests/data/histories."""
