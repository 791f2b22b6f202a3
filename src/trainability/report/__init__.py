"""Reports: a run directory, or several, as one HTML page."""

from trainability.extras import require

require("lab")
