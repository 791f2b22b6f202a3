"""Find starting weights with which a deep network trains, and draw them.

    python examples/initialise_deep_mlp.py

PyTorch's own initialisation divides the signal's mean square by 6 in each of these 20 layers.
"""

import torch
from torch import nn

from trainability import init_, recommend_init
from trainability.doctor import gain_budget

torch.manual_seed(0)
images = torch.randn(64, 48)
layers = [layer for _ in range(19) for layer in (nn.Linear(48, 48), nn.ReLU())]
model = nn.Sequential(*layers, nn.Linear(48, 10))

# log10 of what all layers together do to the signal's mean square; about 0 lets signal and gradient keep their size.
before = gain_budget(model).log10_gain
plan = recommend_init(model, images)
init_(model, plan, seed=0)
after = gain_budget(model).log10_gain
print(f"plan {plan}: gain budget {before:+.1f} before, {after:+.1f} after")
