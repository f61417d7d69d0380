"""Where spans, metrics and logs leave the process."""
