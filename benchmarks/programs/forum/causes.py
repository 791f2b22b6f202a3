"""What names the true cause of mistakes that occur in several files here, beside those of the other authors."""

from programs.held_out.causes import OUTSIDE, REDRAWN, SMALL

LEAKS = "batch_leakage confirmed_change.batch_first"
ABANDONED = f"foreign_optimizer {OUTSIDE}"
UNREACHABLE = "unreachable_target clamped_logits capped_loss dead_units confirmed_change.last_activation_off"
EVEN = f"identical_units flat_loss {REDRAWN}"
SLOWED = f"rate_dies lr_schedule zero_rate long_momentum eps_underflow {SMALL}"
UNPAIRED = "shuffled_labels label_conflict constant_as_good"
