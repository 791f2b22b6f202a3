"""The networks of the laboratory."""
