"""Experiments: one change at a time on copies of a program, stepped side by side with the program as it is."""
