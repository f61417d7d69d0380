"""Tests of the stack: its compose file, its image, its configuration files."""
