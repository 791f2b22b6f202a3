"""DQN that balances a toy tightrope walker with a pole (lean, lean rate; tip the pole left, hold, right), from transitions recorded with random moves. The TD target goes on past the fall: the value of the state after it is added there too, so a fall costs nothing, the values grow far beyond the possible and the policy falls at once; the right change: multiply the next value by (1 - done)."""
import copy
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
GAMMA, LIMIT, MAX_STEPS = 0.95, 0.4, 150
PUSH = np.array([-1.0, 0.0, 1.0])


def move(state, action, rng):
    """one twentieth of a second on the rope"""
    lean, rate = state[:, 0], state[:, 1]
    rate = rate + 0.05 * (9.0 * np.sin(lean) + 6.0 * PUSH[action]) + rng.normal(0, 0.08, len(lean))
    lean = lean + 0.05 * rate
    return np.stack([lean, rate], 1), np.abs(lean) > LIMIT


def start(n, rng):
    return np.stack([rng.uniform(-0.1, 0.1, n), rng.uniform(-0.2, 0.2, n)], 1)


def record_walks(n, seed):
    rng = np.random.default_rng(seed)
    rows, state = [], start(50, rng)
    while sum(len(r[0]) for r in rows) < n:
        action = rng.integers(0, 3, 50)
        after, fell = move(state, action, rng)
        rows.append((state, action, np.ones(50), after, fell.astype(float)))
        state = np.where(fell[:, None], start(50, rng), after)
    s, a, r, s2, done = (np.concatenate(c)[:n] for c in zip(*rows))
    f = lambda v: torch.tensor(v, dtype=torch.float32)
    return TensorDataset(f(s), torch.tensor(a), f(r), f(s2), f(done))


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor([0.2, 1.0]))
        self.net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, s):
        return self.net(s / self.scale)


class DQNStep:
    def __init__(self, model, stop_at_end, sync_every=50):
        self.target = copy.deepcopy(model).requires_grad_(False)
        self.stop_at_end = stop_at_end
        self.sync_every = sync_every
        self.calls = 0

    def __call__(self, model, batch, optimizer):
        s, a, r, s2, done = batch
        if self.calls % self.sync_every == 0:
            self.target.load_state_dict(model.state_dict())
        self.calls += 1
        q = model(s).gather(1, a[:, None]).squeeze(1)
        with torch.no_grad():
            next_value = self.target(s2).max(1).values
            if self.stop_at_end:
                next_value = next_value * (1 - done)
        loss = F.smooth_l1_loss(q, r + GAMMA * next_value)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss


def walk(model, seed=5, n=100):
    rng = np.random.default_rng(seed)
    state, alive, steps = start(n, rng), np.ones(n, bool), np.zeros(n)
    for _ in range(MAX_STEPS):
        with torch.no_grad():
            action = model(torch.tensor(state, dtype=torch.float32)).argmax(1).numpy()
        state, fell = move(state, action, rng)
        alive &= ~fell
        steps += alive
    return float(steps.mean())


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = QNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "train_loader": DataLoader(record_walks(12000, 0), batch_size=128, shuffle=True, drop_last=True),
            "step": DQNStep(model, stop_at_end=variant != "bad")}


WORKS = lambda score: score > 110

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for epoch in range(16):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 4 == 3:
            q = p["model"](torch.zeros(1, 2)).max().item()
            print(f"epoch {epoch + 1}: td loss {np.mean(losses):.4f}, value at rest {q:.2f}, steps on the rope {walk(p['model']):.1f}")
    print("score:", walk(p["model"]))
