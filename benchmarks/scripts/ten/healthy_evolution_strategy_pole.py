"""Sound: a policy that balances a pole, by an evolution strategy; no backward pass at all: gradients are estimated from antithetic perturbations, written into .grad by hand, and Adam steps on them; the loss is minus the mean return."""
import sys
import torch
import torch.nn as nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

STEPS, SIGMA, PAIRS = 100, 0.15, 12


def mean_return(policy, start):
    """Cart-pole, vectorised over the starts; steps until the pole falls or the cart leaves, over STEPS."""
    x, v, th, om = start.T
    alive, total = torch.ones(len(start)), torch.zeros(len(start))
    for _ in range(STEPS):
        force = 10 * torch.tanh(policy(torch.stack([x, v, th * 5, om], 1)).squeeze(1))
        c, s = th.cos(), th.sin()
        tmp = (force + 0.05 * om ** 2 * s) / 1.1
        acc = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c ** 2 / 1.1))
        x, v, th, om = x + 0.02 * v, v + 0.02 * (tmp - 0.05 * acc * c / 1.1), th + 0.02 * om, om + 0.02 * acc
        alive = alive * ((x.abs() < 2.4) & (th.abs() < 0.21)).float()
        total += alive
    return total.mean() / STEPS


def starts(n, g):
    return (torch.rand(n, 4, generator=g) - 0.5) * torch.tensor([0.4, 0.6, 0.2, 0.6])


class Starts:
    """One batch of starting states an update"""

    def __init__(self, updates, n, seed):
        self.updates, self.n, self.g = updates, n, torch.Generator().manual_seed(seed)

    def __len__(self):
        return self.updates

    def __iter__(self):
        return (starts(self.n, self.g) for _ in range(self.updates))


@torch.no_grad()
def es_step(policy, batch, optimizer):
    theta = parameters_to_vector(policy.parameters())
    grad, seen = torch.zeros_like(theta), []
    for _ in range(PAIRS):
        eps = torch.randn_like(theta)
        scores = []
        for sign in (1.0, -1.0):
            vector_to_parameters(theta + sign * SIGMA * eps, policy.parameters())
            scores.append(mean_return(policy, batch))
        grad -= (scores[0] - scores[1]) * eps / (2 * SIGMA * PAIRS)
        seen += scores
    vector_to_parameters(theta, policy.parameters())
    optimizer.zero_grad()
    at = 0
    for w in policy.parameters():
        w.grad = grad[at:at + w.numel()].view_as(w).clone()
        at += w.numel()
    optimizer.step()
    return -torch.stack(seen).mean()


def parts(variant):
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    return {
        "model": policy,
        "optimizer": torch.optim.Adam(policy.parameters(), lr=0.08),
        "step": es_step,
        "train_loader": Starts(6, 16, 1),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    policy, optimizer, step = p["model"], p["optimizer"], p["step"]
    for generation in range(4):
        for batch in p["train_loader"]:
            loss = step(policy, batch, optimizer)
        print(f"after {6 * (generation + 1)} updates: loss {loss.item():.3f}")
    with torch.no_grad():
        value = mean_return(policy, starts(300, torch.Generator().manual_seed(99))).item()
    print(f"score: {value:.4f}")
