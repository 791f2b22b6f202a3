"""A plain loop, watched; `--fault` forgets `optimizer.zero_grad()`, and the doctor names it.

    python examples/loops/plain_loop.py --fault

The lines marked "doctor" are all that the doctor needs. Without them:

    trainability run examples/loops/plain_loop.py --fault
"""

import argparse

import torch
from torch import nn
from torch.nn import functional as F

from trainability import Monitor  # doctor

parser = argparse.ArgumentParser()
parser.add_argument("--fault", action="store_true", help="forget optimizer.zero_grad()")
parser.add_argument("--steps", type=int, default=60)
arguments = parser.parse_args()

torch.manual_seed(0)
centres = torch.randn(4, 32)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
with Monitor(model, optimizer, every=10) as monitor:  # doctor
    for _ in range(arguments.steps):
        labels = torch.randint(4, (64,))
        loss = F.cross_entropy(model(centres[labels] + torch.randn(64, 32)), labels)
        loss.backward()
        monitor.after_backward(loss)  # doctor
        optimizer.step()
        if not arguments.fault:
            optimizer.zero_grad()

print(f"loss {loss.item():.4f}, weights {sum(p.double().sum() for p in model.parameters()).item()!r}")
