"""The band of gain budgets that trains, and the nets that it was found on. No torch."""

# Own pilot, 175 short runs of VGG-A to E under SGD: below -5 none of 83 trained, above 2.7 none of 12 (docs/theory.md,
# section 4).
BUDGET_LOW, BUDGET_HIGH = -5.0, 2.7
# Biases that start away from zero carry a signal and a gradient of their own. Own pilot with PyTorch's default
# initialisation: SGD trained 8 layers at -6.2, and had not trained 11 and 13 at -8.6 and -10.1 when the runs ended.
BIASED_BUDGET_LOW = -7.0
PILOT_DEPTH = 8  # weight layers of the shallowest nets that the band speaks of
