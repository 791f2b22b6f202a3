"""Sound: actor-critic with two optimizers that holds a greenhouse at 20 degrees, Gaussian policy with a learned spread, gradients clipped, the critic's loss large at first; nothing to change."""
import sys
import torch
import torch.nn as nn
from torch.distributions import Normal
from torch.utils.data import DataLoader, TensorDataset


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.mu = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))
        self.log_std = nn.Parameter(torch.zeros(1))

    def forward(self, s):
        return Normal(self.mu(s).squeeze(-1), self.log_std.exp())


class Value(nn.Module):
    def __init__(self):
        super().__init__()
        self.v = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 1))

    def forward(self, s):
        return self.v(s).squeeze(-1)


def heat(state, power):
    """state: (inside - 20) / 5, (outside - 20) / 5"""
    inside, outside = state.unbind(1)
    inside = inside + 0.2 * (outside - inside) + 0.5 * power.clamp(-2, 2) + 0.02 * torch.randn_like(inside)
    return torch.stack([inside, outside], 1), -inside.abs()


def mornings(n):
    return torch.stack([torch.randn(n), torch.empty(n).uniform_(-2, 1)], 1)


def parts(variant):
    torch.manual_seed(0)
    model = {"policy": Policy(), "value": Value()}
    optimizer = {"policy": torch.optim.Adam(model["policy"].parameters(), lr=3e-3),
                 "value": torch.optim.Adam(model["value"].parameters(), lr=1e-2)}

    def step(model, batch, optimizer):
        policy, value = model["policy"], model["value"]
        s = batch[0]
        traj = []
        for _ in range(6):
            pi = policy(s)
            a = pi.sample()
            s2, r = heat(s, a)
            traj.append((s, pi.log_prob(a), r))
            s = s2
        with torch.no_grad():
            g = value(s)
        policy_loss = value_loss = 0.0
        for s_t, logp, r in reversed(traj):
            g = r + 0.9 * g
            v = value(s_t)
            adv = (g - v).detach()
            policy_loss = policy_loss - (logp * adv).mean() / 6
            value_loss = value_loss + nn.functional.smooth_l1_loss(v, g) / 6
        for name, loss in (("policy", policy_loss), ("value", value_loss)):
            optimizer[name].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model[name].parameters(), 1.0)
            optimizer[name].step()
        return (policy_loss + value_loss).detach()

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(mornings(6400)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(mornings(500)), batch_size=100)}


# mean distance from 20 degrees over 20 steps, in units of 5 degrees, with the policy's mean
WORKS = lambda score: score < 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        out = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} loss {sum(out) / len(out):.4f}")
    off = []
    with torch.no_grad():
        for s, in p["val_loader"]:
            for _ in range(20):
                s, r = heat(s, p["model"]["policy"](s).mean)
                off.append(-r.mean().item())
    score = sum(off) / len(off)
    print(f"score: {score:.4f}")
