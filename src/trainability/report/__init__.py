"""What a run wrote, as one HTML page."""

from trainability.extras import require

require("lab")
