"""The training loop, with engine, schedule, checkpoints and the run directory."""
