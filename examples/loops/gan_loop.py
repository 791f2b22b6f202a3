"""A GAN of two small networks; `--fault` never clears the critic's gradients.

    python examples/loops/gan_loop.py --fault

The lines marked "doctor" are all that the doctor needs. Without them:

    trainability run examples/loops/gan_loop.py --fault
"""

import argparse

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

import trainability  # doctor

parser = argparse.ArgumentParser()
parser.add_argument("--fault", action="store_true", help="never clear the critic's gradients")
parser.add_argument("--steps", type=int, default=60)
arguments = parser.parse_args()

trainability.follow(every=10)  # doctor
torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
critic = nn.Sequential(nn.Linear(2, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))
for_generator, for_critic = (torch.optim.Adam(part.parameters(), lr=2e-3, betas=(0.5, 0.99)) for part in (generator, critic))
ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)

for _ in range(arguments.steps):
    real = torch.randn(64, 2) * 0.5 + 2
    fake = generator(torch.randn(64, 8))
    if not arguments.fault:
        for_critic.zero_grad()
    loss = bce(critic(real), ones) + bce(critic(fake.detach()), zeros)
    loss.backward()
    for_critic.step()
    for_generator.zero_grad()
    bce(critic(fake), ones).backward()
    for_generator.step()

weights = sum(p.double().sum() for part in (generator, critic) for p in part.parameters()).item()
print(f"critic's loss {loss.item():.4f}, weights {weights!r}")
