"""Measurements: probe, monitor, audits, and the hooks and statistics that they use."""
