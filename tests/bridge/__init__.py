"""Tests of the bridge, one file a module."""
