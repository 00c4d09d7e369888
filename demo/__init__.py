"""``make demo``: the main job, end to end, on one machine. Run it with ``python -m demo``."""
