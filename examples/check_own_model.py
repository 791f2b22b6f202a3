"""Ask, before the first step, whether your own model will train on your own data.

    python examples/check_own_model.py

Nine tanh layers whose weights are N(0, 0.01): every layer shrinks the signal, and the loss would stay at ln(10) for ever.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from trainability import check

torch.manual_seed(0)
labels = torch.randint(10, (512,))
inputs = torch.randn(10, 64)[labels] + 0.5 * torch.randn(512, 64)
train_loader = DataLoader(TensorDataset(inputs, labels), batch_size=64, shuffle=True)

hidden = [layer for _ in range(8) for layer in (nn.Linear(64, 64), nn.Tanh())]
model = nn.Sequential(*hidden, nn.Linear(64, 10))
for parameter in model.parameters():
    nn.init.normal_(parameter, std=0.01)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

# One forward and one backward pass; weights, gradients, buffers and random state are afterwards as they were before.
diagnosis = check(model, train_loader, F.cross_entropy, optimizer, num_classes=10, planned_steps=400)
print(diagnosis)
