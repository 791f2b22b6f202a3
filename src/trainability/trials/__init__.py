"""The trials of the public training log as data: more than thirty runs, their replay at several scales, and the verdicts."""
