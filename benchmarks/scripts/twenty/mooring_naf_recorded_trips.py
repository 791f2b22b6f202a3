"""Normalised advantage functions (NAF) learn from recorded random trips to steer a dinghy to its mooring (reward 1 on arrival, which ends the trip). Mistake: the target is r + gamma * mask + v_next. change: r + gamma * mask * v_next."""
import copy
import sys

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GAMMA, TAU, THRUST, HARBOUR = 0.9, 0.02, 0.3, 0.25


def sail(state, action):
    new = (state + THRUST * action.clamp(-1, 1) + 0.01 * torch.randn_like(state)).clamp(-1, 1)
    arrived = (new.norm(dim=1, keepdim=True) < HARBOUR).float()
    return new, arrived


def recorded_trips(n):
    state = torch.rand(n, 2) * 2 - 1
    state = state[state.norm(dim=1) > HARBOUR]
    action = torch.rand(len(state), 2) * 2 - 1
    new, arrived = sail(state, action)
    return TensorDataset(state, action, arrived.clone(), new, 1 - arrived)


class NAF(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh())
        self.V = nn.Linear(hidden, 1)
        self.mu = nn.Linear(hidden, 2)
        self.L = nn.Linear(hidden, 2)

    def forward(self, state, action=None):
        h = self.body(state)
        V, mu = self.V(h), torch.tanh(self.mu(h))
        if action is None:
            return mu, V
        scale = self.L(h).exp()
        Q = V - 0.5 * (scale * (action - mu) ** 2).sum(1, keepdim=True)
        return mu, Q


def parts(variant):
    torch.manual_seed(0)
    model = NAF()
    target = copy.deepcopy(model)

    def step(model, batch, optimizer):
        state, action, reward, new, mask = batch
        with torch.no_grad():
            _, next_values = target(new)
        if variant == "bad":
            expected = reward + GAMMA * mask + next_values
        else:
            expected = reward + GAMMA * mask * next_values
        loss = F.mse_loss(model(state, action)[1], expected)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(target.parameters(), model.parameters()):
                slow.lerp_(fast, TAU)
        return loss.detach()

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "step": step,
            "train_loader": DataLoader(recorded_trips(20000), batch_size=128, shuffle=True),
            "val_loader": DataLoader(recorded_trips(500), batch_size=500)}


WORKS = lambda score: score > 0.8


@torch.no_grad()
def arrivals(model, starts, limit=8):
    state, done = starts, torch.zeros(len(starts), 1)
    for _ in range(limit):
        new, arrived = sail(state, model(state)[0])
        state = torch.where(done.bool(), state, new)
        done = torch.maximum(done, arrived)
    return done.mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    starts = next(iter(p["val_loader"]))[0]
    for epoch in range(25):
        losses = [p["step"](p["model"], batch, p["optimizer"]) for batch in p["train_loader"]]
        if epoch % 3 == 0:
            print(f"epoch {epoch:2d} td loss {torch.stack(losses).mean():.5f} arrivals {arrivals(p['model'], starts):.3f}")
    score = arrivals(p["model"], starts)
    print(f"score: {score:.4f}")
