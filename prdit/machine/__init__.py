"""What the machine does to a run: memory, processes, signals, speed, the log.

It decides how a result comes about, not which; a change of it re-runs nothing.
"""
