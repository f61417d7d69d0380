"""Tests of the rules: cases for promtool, by the modules that have the alerts."""
