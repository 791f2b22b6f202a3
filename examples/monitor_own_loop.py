"""Watch your own training loop, and read afterwards what it suffered from.

    python examples/monitor_own_loop.py

The loop forgets `optimizer.zero_grad()`: gradients of all steps add up.
"""

import torch
from torch import nn
from torch.nn import functional as F

from trainability import Monitor

torch.manual_seed(0)
centres = torch.randn(4, 32)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

with Monitor(model, optimizer, every=10, num_classes=4) as monitor:
    for _ in range(60):
        labels = torch.randint(4, (64,))
        loss = F.cross_entropy(model(centres[labels] + torch.randn(64, 32)), labels)
        loss.backward()
        monitor.after_backward(loss)  # before clipping
        optimizer.step()

diagnosis = monitor.diagnose()
print(diagnosis)
