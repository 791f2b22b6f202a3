"""What to look at where nothing that was seen says which half of the program it is. Words only; no rule."""

ONE_BATCH_ALONE = (
    "train on one and the same batch for 200 steps, without dropout: if that loss does not fall either, look at model, masks "
    "and loss (trainability check does); if it falls, look at the examples as the loop gets them"
)
ONE_BATCH = ONE_BATCH_ALONE.replace("look at the examples", "print ten inputs with their labels or pairs")
SMALLER_TERMS = (
    "a smaller weight for the terms beside the reconstruction error (a divergence, a penalty): raise it from 0 to 1, "
    "its value in the variational bound with sums over units, over a third of the run"
)
