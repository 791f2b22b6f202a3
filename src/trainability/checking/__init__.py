"""Check a training setup before the first step."""
