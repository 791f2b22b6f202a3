"""Critic of a stock-keeping policy: discounted cost still to come from the state (stock, on order, season), fitted to simulated returns by Adam in a loop over sampled batches; the costs are booked in cents (returns of about 5e5), which a net at this rate never reaches; change: returns are standardised by a running-statistics object of the training returns."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F

GAMMA, HORIZON, STEPS, BATCH = 0.9, 40, 1500, 128


def simulate(n, seed):
    """States and discounted costs in cents under an order-up-to policy."""
    g = torch.Generator().manual_seed(seed)
    stock = torch.randint(0, 60, (n,), generator=g).float()
    order = torch.randint(0, 40, (n,), generator=g).float()
    week = torch.randint(0, 52, (n,), generator=g).float()
    state = torch.stack([(stock - 30) / 17, (order - 20) / 12, torch.sin(2 * math.pi * week / 52), torch.cos(2 * math.pi * week / 52)], 1)
    cost = torch.zeros(n)
    for t in range(HORIZON):
        mean = 15 + 10 * torch.sin(2 * math.pi * (week + t) / 52)
        demand = torch.poisson(mean, generator=g)
        stock, order = stock + order, (55 - stock - order).clamp(0, 40)
        missed = (demand - stock).clamp(min=0)
        stock = (stock - demand).clamp(min=0)
        cost += GAMMA ** t * (120 * stock + 2500 * missed + 300 * order)
    return state, cost


class Scale:
    def __init__(self, values, active):
        self.mean = values.mean().item() if active else 0.0
        self.std = values.std().item() if active else 1.0

    def __call__(self, v):
        return (v - self.mean) / self.std


class Critic(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.fc1, self.fc2, self.out = nn.Linear(4, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, s):
        return self.out(F.relu(self.fc2(F.relu(self.fc1(s))))).squeeze(-1)


class Replay:
    def __init__(self, states, returns, steps):
        self.states, self.returns, self.steps = states, returns, steps

    def sample(self):
        i = torch.randint(0, len(self.states), (BATCH,))
        return self.states[i], self.returns[i]

    def __len__(self):
        return self.steps

    def __iter__(self):
        return (self.sample() for _ in range(self.steps))


def parts(variant):
    torch.manual_seed(0)
    s, g = simulate(20000, 1)
    sv, gv = simulate(3000, 2)
    scale = Scale(g, active=variant != "bad")
    model = Critic()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "loss_fn": nn.MSELoss(),
        "train_loader": Replay(s, scale(g), STEPS),
        "val_loader": [(sv, scale(gv))],
    }


@torch.no_grad()
def explained(model, loader):
    (s, g), = loader
    return (1 - F.mse_loss(model(s), g) / g.var()).item()


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    critic, opt, replay = p["model"], p["optimizer"], p["train_loader"]
    for step in range(1, STEPS + 1):
        states, returns = replay.sample()
        loss = p["loss_fn"](critic(states), returns)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 150 == 0:
            print(f"step {step}: loss {loss.item():.4g}, explained {explained(critic, p['val_loader']):.3f}")
    print(f"score: {explained(critic, p['val_loader']):.4f}")
