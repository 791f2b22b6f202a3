"""Prints the catalogue of rules as docs/rules.md holds it: python -m trainability.doctor.rules > docs/rules.md."""

from trainability.doctor.rules.catalogue import markdown

print(markdown(), end="")
