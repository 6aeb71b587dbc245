"""What the machine does to a run: memory, processes, signals, the log. No result depends on it."""
