"""DQN for one lift in a six-floor house (fetch the passenger, carry him, reward on arrival), replay filled while playing, soft target updates, double Q; the step plays and learns; sound; change: none."""
import random
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from collections import deque
from copy import deepcopy
from torch.utils.data import DataLoader

FLOORS = 6


class Lift:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def reset(self):
        self.pos = self.rng.randrange(FLOORS)
        self.src, self.dst = self.rng.sample(range(FLOORS), 2)
        self.inside, self.t = 0, 0
        return self.obs()

    def obs(self):
        v = np.zeros(3 * FLOORS + 1, dtype="float32")
        v[self.pos] = v[FLOORS + self.src] = v[2 * FLOORS + self.dst] = 1
        v[-1] = self.inside
        return v

    def act(self, a):
        self.t += 1
        r, done = -0.05, False
        if a < 2:
            self.pos = min(FLOORS - 1, max(0, self.pos + (1 if a else -1)))
        elif not self.inside and self.pos == self.src:
            self.inside, r = 1, 0.2
        elif self.inside and self.pos == self.dst:
            r, done = 1.0, True
        else:
            r = -0.2
        return self.obs(), r, done, self.t >= 40


class QNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3 * FLOORS + 1, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, 3)

    def forward(self, s):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(s)))))


def parts(variant):
    torch.manual_seed(0)
    rnd = random.Random(0)
    q = QNet()
    target = deepcopy(q)
    opt = torch.optim.Adam(q.parameters(), lr=1e-3)
    memory = deque(maxlen=10000)
    env = Lift(1)
    st = {"s": env.reset(), "n": 0}

    def play(k):
        for _ in range(k):
            eps = max(0.05, 1 - st["n"] / 6000)
            with torch.no_grad():
                a = rnd.randrange(3) if rnd.random() < eps else q(torch.from_numpy(st["s"])).argmax().item()
            s2, r, done, cut = env.act(a)
            memory.append((st["s"], a, r, s2, float(done)))
            st["s"] = env.reset() if done or cut else s2
            st["n"] += 1

    play(500)

    def step(model, batch, optimizer):
        play(4)
        s, a, r, s2, d = (torch.as_tensor(np.array(c)) for c in zip(*rnd.sample(memory, 64)))
        qa = model(s).gather(1, a[:, None]).squeeze(1)
        with torch.no_grad():
            best = model(s2).argmax(1, keepdim=True)
            y = r.float() + 0.95 * (1 - d.float()) * target(s2).gather(1, best).squeeze(1)
        loss = F.smooth_l1_loss(qa, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        with torch.no_grad():
            for t, o in zip(target.parameters(), model.parameters()):
                t.lerp_(o, 0.01)
        return loss.detach()

    ticks = DataLoader(list(range(500)), batch_size=1)
    return dict(model=q, optimizer=opt, step=step, train_loader=ticks, val_loader=DataLoader(list(range(100, 160)), batch_size=1))


WORKS = lambda score: score > 0.8  # share of passengers carried within the limit

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch}: td loss {np.mean(losses):.4f}")
    won = []
    for seed in p["val_loader"]:
        env = Lift(seed.item())
        s, over = env.reset(), False
        while not over:
            with torch.no_grad():
                s, r, done, cut = env.act(p["model"](torch.from_numpy(s)).argmax().item())
            over = done or cut
        won.append(done)
    score = float(np.mean(won))
    print(f"score: {score:.4f}")
