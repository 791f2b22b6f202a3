"""The book's page: every trial's result, and its pictures."""

from trainability.extras import require

require("lab")
