"""Q-learning from a replay buffer of a point that walks to a goal; the environment moves its own state array in place and the buffer keeps references to it; change: copies are kept."""
import copy
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

MOVES = np.array([[0.1, 0.0], [-0.1, 0.0], [0.0, 0.1], [0.0, -0.1]], dtype=np.float32)
GOAL = np.array([0.75, 0.3], dtype=np.float32)


class PointWorld:
    def __init__(self, seed):
        self.rng = np.random.RandomState(seed)

    def reset(self):
        self.state = self.rng.rand(2).astype(np.float32)
        return self.state

    def step(self, action):
        self.state += MOVES[action]
        np.clip(self.state, 0.0, 1.0, out=self.state)
        done = bool(np.abs(self.state - GOAL).max() < 0.1)
        return self.state, (1.0 if done else -0.02), done


class ReplayMemory:
    def __init__(self, keep):
        self.keep, self.rows = keep, []

    def push(self, s, a, r, done):
        self.rows.append((self.keep(s), a, r, done))

    def push_next(self, s2):
        self.rows[-1] += (self.keep(s2),)

    def dataset(self):
        s, a, r, d, s2 = zip(*self.rows)
        return TensorDataset(torch.tensor(np.stack(s)), torch.tensor(a), torch.tensor(r, dtype=torch.float32),
                             torch.tensor(np.stack(s2)), torch.tensor(d, dtype=torch.float32))


def collect(episodes, seed, keep):
    env, memory = PointWorld(seed), ReplayMemory(keep)
    for _ in range(episodes):
        s = keep(env.reset())
        for _ in range(40):
            a = int(env.rng.randint(4))
            s2, r, done = env.step(a)
            memory.push(s, a, r, done)
            memory.push_next(s2)
            s = keep(s2)
            if done:
                break
    return memory.dataset()


class QNet(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, 4))

    def forward(self, s):
        return self.net(s)


def parts(variant):
    torch.manual_seed(0)
    keep = (lambda s: s) if variant == "bad" else (lambda s: s.copy())
    q = QNet()
    target = copy.deepcopy(q)
    calls = {"n": 0}

    def step(model, batch, optimizer, gamma=0.95, sync_every=100):
        s, a, r, s2, done = batch
        with torch.no_grad():
            y = r + gamma * (1 - done) * target(s2).max(1).values
        pred = model(s).gather(1, a[:, None]).squeeze(1)
        loss = F.smooth_l1_loss(pred, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        calls["n"] += 1
        if calls["n"] % sync_every == 0:
            target.load_state_dict(model.state_dict())
        return loss

    return {"model": q, "optimizer": torch.optim.RMSprop(q.parameters(), lr=5e-4), "step": step,
            "train_loader": DataLoader(collect(500, 1, keep), batch_size=128, shuffle=True)}


WORKS = lambda score: score > 0.7


@torch.no_grad()
def success_rate(q, episodes=200, seed=123):
    env, hits = PointWorld(seed), 0
    for _ in range(episodes):
        s = env.reset()
        for _ in range(25):
            s, _, done = env.step(int(q(torch.from_numpy(s.copy())).argmax()))
            if done:
                hits += 1
                break
    return hits / episodes


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    print("transitions", len(p["train_loader"].dataset))
    for epoch in range(25):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} td loss {np.mean(losses):.5f} success {success_rate(p['model'], 60):.3f}")
    print(f"score: {success_rate(p['model']):.4f}")
