"""The faults that are provoked, what is promised for each, and the tests that do it."""
