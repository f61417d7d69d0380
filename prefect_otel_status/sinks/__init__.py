"""The places a status goes: one file each, one small Protocol."""
