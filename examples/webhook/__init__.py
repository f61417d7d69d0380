"""A small receiver for Alertmanager's webhooks. See `receiver.py`."""
