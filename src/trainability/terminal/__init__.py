"""Display runs and diagnoses in a terminal."""
