"""Errors of a trained network on a validation set."""

from trainability.extras import require

require("lab")
