"""What a run wrote, as one HTML page."""
