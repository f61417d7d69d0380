"""A real deployment of a small model, that says what it is doing. See `README.md`."""
