"""What a person sees in a terminal: commands that read, and say what they read."""
