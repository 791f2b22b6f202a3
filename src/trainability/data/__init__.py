"""Where images come from, and how they reach the network."""

from trainability.extras import require

require("lab")
