"""What names the true cause of mistakes that occur in several kinds of task."""

from programs.program import LARGE_STEPS, SMALL_STEPS

LARGE = f"{LARGE_STEPS} confirmed_change.rate_tenth confirmed_change.rate_hundredth"
SMALL = f"{SMALL_STEPS} confirmed_change.rate_ten confirmed_change.rate_hundred confirmed_change.rate_thousand"
REDRAWN = "confirmed_change.he confirmed_change.xavier confirmed_change.default_weights confirmed_change.recommended_weights"
LOUD = f"recurrent_gain gain_budget_high activation_scale loss_at_start {REDRAWN}"
QUIET = f"gain_budget_low slow_start {REDRAWN}"
CUT = "unreached_parameter zero_gradient unmoved_parameter.without_gradient untrained_parameter.no_gradient flat_loss"
OUTSIDE = "untrained_parameter unmoved_parameter confirmed_change.all_parameters"
CLIPPED = "clipping plateau.clipped confirmed_change.clip_off"
DECAYED = "weights_decayed confirmed_change.decay_off"
STALE = "stale_gradients missing_zero_grad confirmed_change.zero_grad"
OUT_OF_ORDER = "zero_gradient untrained_parameter.gradient_lost confirmed_change.step_in_order"
