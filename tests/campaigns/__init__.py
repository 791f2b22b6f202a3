"""Campaigns: thousands of kills and damaged inputs, each case in a process that was forked with the package imported.

`make campaigns` runs them to their goals, goes on where it was stopped, and writes benchmarks/results/campaigns.json; `make
test` runs a few cases of each (short_forms.py). A case is a number: the same number is the same case.
"""
