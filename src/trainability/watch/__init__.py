"""Views of a run in progress in a terminal, made only from its files."""
