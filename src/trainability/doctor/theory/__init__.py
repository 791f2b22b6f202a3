"""What the closed form predicts from weights and shapes alone; docs/theory.md has the derivations."""
