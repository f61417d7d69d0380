"""What the demo is made of: processes, the four deployments, the report at the end."""
