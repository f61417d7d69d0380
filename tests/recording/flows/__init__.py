"""The flows that are recorded. Which variant is recorded decides what they are made with."""
