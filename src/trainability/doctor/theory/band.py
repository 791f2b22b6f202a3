"""The band of gain budgets that trains, and the nets that it was found on; what was fitted of the stay at chance. No torch."""

# Own 175 short runs of VGG-A to E under SGD: below -5 none of 83 trained, above 2.7 none of 12 (docs/theory.md, section 4).
BUDGET_LOW, BUDGET_HIGH = -5.0, 2.7
TRIED_BELOW, TRIED_ABOVE = 83, 12
PILOT_DEPTH = 8  # weight layers of the shallowest nets that the band speaks of
# PyTorch's default initialisation: gain 1/6 a layer, and biases that carry a signal and a gradient of their own. Lowest budgets
# at which SGD and Adam were seen to train it, and the highest at which SGD was not, within 1,500 steps
# (benchmarks/default_init.py).
DEFAULT_SGD_TRAINED, DEFAULT_SGD_STUCK, DEFAULT_ADAM_TRAINED = -7.0, -8.6, -16.3
BIASED_BUDGET_LOW = -8.0  # between the two of SGD: below it, biases do not save a net
PLATEAU_START, PLATEAU_SHARE = 50.0, 0.8  # steps, and share of T, of equation (9) in docs/theory.md, section 7
