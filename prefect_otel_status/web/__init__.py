"""What a person sees in a browser: rendered from what the bridge knows, without input or output."""
