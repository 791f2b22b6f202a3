"""DQN in a 6x6 grid with a target network, healthy: the loss begins near zero and rises while the values spread from the goal; no mistake."""
import random
import sys
from collections import deque

import numpy as np
import torch
from torch import nn

SIZE, GAMMA, STEPS, TARGET_EVERY = 6, 0.95, 2800, 100
WALLS = {(1, 1), (1, 2), (1, 3), (3, 2), (3, 3), (3, 4), (4, 2)}
GOAL = (5, 5)
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]
WORKS = lambda success: success > 0.9


def encode(pos):
    v = torch.zeros(SIZE * SIZE)
    v[pos[0] * SIZE + pos[1]] = 1.0
    return v


def env_step(pos, action):
    r, c = pos[0] + MOVES[action][0], pos[1] + MOVES[action][1]
    if not (0 <= r < SIZE and 0 <= c < SIZE) or (r, c) in WALLS:
        r, c = pos
    return (r, c), float((r, c) == GOAL), (r, c) == GOAL


def random_start(rnd):
    while True:
        pos = (rnd.randrange(SIZE), rnd.randrange(SIZE))
        if pos not in WALLS and pos != GOAL:
            return pos


class Agent:
    def __init__(self):
        self.rnd = random.Random(0)
        self.memory = deque(maxlen=5000)
        self.pos, self.age, self.n = random_start(self.rnd), 0, 0

    def act(self, model):
        eps = max(0.2, 1.0 - self.n / 1500)
        if self.rnd.random() < eps:
            return self.rnd.randrange(4)
        with torch.no_grad():
            return int(model["online"](encode(self.pos)[None]).argmax())

    def step(self, model, batch, optimizer):
        for _ in range(4):
            a = self.act(model)
            new, r, done = env_step(self.pos, a)
            self.memory.append((encode(self.pos), a, r, encode(new), float(done)))
            self.pos, self.age, self.n = new, self.age + 1, self.n + 1
            if done or self.age >= 60:
                self.pos, self.age = random_start(self.rnd), 0
        s, a, r, s2, d = zip(*self.rnd.choices(self.memory, k=64))
        s, s2 = torch.stack(s), torch.stack(s2)
        a, r, d = torch.tensor(a), torch.tensor(r), torch.tensor(d)
        q = model["online"](s).gather(1, a[:, None]).squeeze(1)
        with torch.no_grad():
            target = r + GAMMA * (1 - d) * model["target"](s2).max(1).values
        loss = nn.functional.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if int(batch) % TARGET_EVERY == 0:
            model["target"].load_state_dict(model["online"].state_dict())
        return loss


def parts(variant="fixed"):
    torch.manual_seed(0)
    make = lambda: nn.Sequential(nn.Linear(SIZE * SIZE, 64), nn.ReLU(), nn.Linear(64, 4))
    model = nn.ModuleDict({"online": make(), "target": make().requires_grad_(False)})
    nn.init.zeros_(model["online"][2].weight)
    nn.init.zeros_(model["online"][2].bias)
    model["target"].load_state_dict(model["online"].state_dict())
    return {"model": model, "optimizer": torch.optim.Adam(model["online"].parameters(), lr=1e-3),
            "train_loader": [torch.tensor(k) for k in range(STEPS)], "step": Agent().step}


def success_rate(model, limit=18):
    starts = [(r, c) for r in range(SIZE) for c in range(SIZE) if (r, c) not in WALLS and (r, c) != GOAL]
    wins = 0
    for pos in starts:
        for _ in range(limit):
            with torch.no_grad():
                pos, _, done = env_step(pos, int(model["online"](encode(pos)[None]).argmax()))
            if done:
                wins += 1
                break
    return wins / len(starts)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    losses = []
    for batch in p["train_loader"]:
        losses.append(p["step"](p["model"], batch, p["optimizer"]).item())
        if len(losses) % 500 == 0:
            print(f"step {len(losses)} loss {np.mean(losses[-500:]):.5f} success {success_rate(p['model']):.2f}")
    print("score:", round(success_rate(p["model"]), 4))
