"""Views of a run in progress, made from its files alone: in a terminal, and as a page that refreshes by itself."""
