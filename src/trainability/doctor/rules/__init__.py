"""What is concluded: one rule per cause or symptom, and the verdict over all of them."""
