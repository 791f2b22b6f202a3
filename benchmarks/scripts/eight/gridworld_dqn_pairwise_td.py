"""DQN on a grid with pits; the mistake: Q-values of shape (N, 1) minus targets of shape (N,) broadcast to (N, N), so each Q-value is fitted to all targets at once; change: `fixed` squeezes the gathered Q-values."""
import copy
import sys

import torch
import torch.nn as nn

SIZE, GOAL = 6, (5, 5)
PITS = {(1, 1), (1, 4), (3, 2), (4, 4), (2, 3)}
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
N_ENVS, GAMMA = 32, 0.95
WORKS = lambda score: score > 0.5


def cells(names):
    m = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for r, c in names:
        m[r, c] = True
    return m


PIT, END = cells(PITS), cells({GOAL})


def env_step(pos, action):
    nxt = (pos + MOVES[action]).clamp(0, SIZE - 1)
    fell, won = PIT[nxt[:, 0], nxt[:, 1]], END[nxt[:, 0], nxt[:, 1]]
    reward = won.float() - fell.float() - 0.02
    return nxt, reward, fell | won


def observe(pos):
    onehot = torch.zeros(len(pos), 2 * SIZE)
    onehot[torch.arange(len(pos)), pos[:, 0]] = 1
    onehot[torch.arange(len(pos)), SIZE + pos[:, 1]] = 1
    return onehot


class Replay:
    def __init__(self, cap=20000):
        self.s, self.s2 = torch.zeros(cap, 2, dtype=torch.long), torch.zeros(cap, 2, dtype=torch.long)
        self.a, self.r, self.d = torch.zeros(cap, dtype=torch.long), torch.zeros(cap), torch.zeros(cap)
        self.cap, self.n = cap, 0

    def push(self, s, a, r, s2, d):
        i = torch.arange(self.n, self.n + len(s)) % self.cap
        self.s[i], self.a[i], self.r[i], self.s2[i], self.d[i] = s, a, r, s2, d.float()
        self.n += len(s)

    def sample(self, k):
        i = torch.randint(0, min(self.n, self.cap), (k,))
        return self.s[i], self.a[i], self.r[i], self.s2[i], self.d[i]


def parts(variant="fixed"):
    torch.manual_seed(7)
    qnet = nn.Sequential(nn.Linear(2 * SIZE, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    target_net = copy.deepcopy(qnet)
    memory = Replay()
    state = {"pos": torch.zeros(N_ENVS, 2, dtype=torch.long), "t": 0}

    def step(model, batch, optimizer):
        eps = max(0.1, 1.0 - batch / 1500)
        pos = state["pos"]
        with torch.no_grad():
            greedy = model(observe(pos)).argmax(1)
        action = torch.where(torch.rand(N_ENVS) < eps, torch.randint(0, 4, (N_ENVS,)), greedy)
        nxt, reward, done = env_step(pos, action)
        memory.push(pos, action, reward, nxt, done)
        restart = done | (torch.rand(N_ENVS) < 0.02)
        state["pos"] = torch.where(restart[:, None], torch.zeros_like(nxt), nxt)

        s, a, r, s2, d = memory.sample(128)
        q = model(observe(s)).gather(1, a.unsqueeze(1))
        if variant == "fixed":
            q = q.squeeze(1)
        with torch.no_grad():
            target = r + GAMMA * (1 - d) * target_net(observe(s2)).max(dim=1).values
        loss = (q - target).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if batch % 100 == 0:
            target_net.load_state_dict(model.state_dict())
        return loss

    return {"model": qnet, "optimizer": torch.optim.Adam(qnet.parameters(), lr=1e-3),
            "train_loader": list(range(6000)), "step": step}


@torch.no_grad()
def greedy_return(model, start=(0, 0), limit=40):
    pos, total = torch.tensor([start]), 0.0
    for _ in range(limit):
        pos, reward, done = env_step(pos, model(observe(pos)).argmax(1))
        total += reward.item()
        if done.item():
            break
    return total


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for it in p["train_loader"]:
        loss = p["step"](p["model"], it, p["optimizer"])
        if it % 1000 == 0:
            print(f"iter {it:5d}  td loss {loss.item():.4f}  greedy return {greedy_return(p['model']):.2f}")
    score = sum(greedy_return(p["model"], s) for s in [(0, 0), (0, 3), (3, 0), (2, 1), (0, 5)]) / 5
    print(f"score: {score:.4f}")
