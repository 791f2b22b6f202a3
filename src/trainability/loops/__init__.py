"""The doctor in anybody's training loop: Monitor with a run directory, and a script that is run unmodified."""
