"""A loop of Accelerate with accumulation; `--fault` applies softmax before cross-entropy, which applies it too.

    python examples/loops/accelerate_loop.py --fault

The lines marked "doctor" are all that the doctor needs. Without them:

    trainability run examples/loops/accelerate_loop.py --fault
"""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.nn import functional as F

from trainability import Monitor  # doctor

parser = argparse.ArgumentParser()
parser.add_argument("--fault", action="store_true", help="softmax before cross-entropy")
parser.add_argument("--epochs", type=int, default=4)
arguments = parser.parse_args()

set_seed(0)
centres, labels = torch.randn(4, 32), torch.randint(4, (1024,))
data = torch.utils.data.TensorDataset(centres[labels] + torch.randn(1024, 32), labels)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
with Monitor(model, optimizer, every=10) as monitor:  # doctor
    for _ in range(arguments.epochs):
        for inputs, targets in loader:
            with accelerator.accumulate(model):
                outputs = model(inputs)
                loss = F.cross_entropy(outputs.softmax(dim=1) if arguments.fault else outputs, targets)
                accelerator.backward(loss)
                monitor.after_backward(loss, is_last=accelerator.sync_gradients)  # doctor
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                optimizer.zero_grad()

print(f"loss {loss.item():.4f}, weights {sum(p.double().sum() for p in model.parameters()).item()!r}")
