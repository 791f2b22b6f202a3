"""The book's page: every trial's result, and its pictures."""
