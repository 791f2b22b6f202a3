"""The loop, and what it stands on: engine, schedule, checkpoints, the run directory."""
