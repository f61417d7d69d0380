"""Dashboards, alert rules and configuration as code, made from `signals` alone."""
