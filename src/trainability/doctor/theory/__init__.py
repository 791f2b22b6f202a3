"""The closed form: predictions from weights and shapes alone; docs/theory.md has the derivations."""
