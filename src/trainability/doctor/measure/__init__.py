"""What is measured: probe, monitor, audits, and the hooks and statistics under them."""
