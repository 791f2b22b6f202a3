"""Errors of a trained network on a validation set."""
