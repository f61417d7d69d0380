"""How a request leaves the bridge: one file for each way, all behind one small protocol."""
