"""Small training programs, sound ones and ones with a mistake, by kind of task: what `benchmarks/faults.py` runs."""
