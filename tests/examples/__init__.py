"""Tests of what the examples add around the deployment."""
