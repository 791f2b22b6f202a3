"""What a run and a diagnosis look like in a terminal."""
