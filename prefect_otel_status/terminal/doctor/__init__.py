"""Checks that telemetry works, from the settings to what each backend got."""
