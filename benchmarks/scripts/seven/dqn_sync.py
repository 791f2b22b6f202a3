"""Double-network DQN on the game of Catch; the periodic sync copies the target network into the online one, which throws the learning away; change: `fixed` copies the online network into the target."""
import random
import sys
from collections import deque
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

H, W = 7, 7
GAMMA, SYNC, BATCH = 0.97, 100, 64
UPDATES = 4500
WORKS = lambda score: score > 0.85         # share of balls caught by the greedy policy


class Catch:
    def reset(self):
        self.row, self.col, self.paddle = 0, random.randrange(W), W // 2
        return self.obs()

    def obs(self):
        o = np.zeros((2, H, W), dtype=np.float32)
        o[0, self.row, self.col] = 1
        o[1, H - 1, self.paddle] = 1
        return o.reshape(-1)

    def step(self, a):
        self.paddle = min(max(self.paddle + a - 1, 0), W - 1)
        self.row += 1
        done = self.row == H - 1
        reward = (1.0 if self.paddle == self.col else -1.0) if done else 0.0
        return self.obs(), reward, done


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        make = lambda: nn.Sequential(nn.Linear(2 * H * W, 64), nn.ReLU(), nn.Linear(64, 3))
        self.q, self.q_target = make(), make()
        self.q_target.load_state_dict(self.q.state_dict())
        for w in self.q_target.parameters():
            w.requires_grad_(False)

    def forward(self, x):
        return self.q(x)


def parts(variant):
    torch.manual_seed(0)
    random.seed(0)
    agent = Agent()
    optimizer = torch.optim.Adam(agent.q.parameters(), lr=1e-3)
    env, memory = Catch(), deque(maxlen=5000)
    state = {"obs": env.reset(), "n": 0}

    def act(eps):
        if random.random() < eps:
            return random.randrange(3)
        with torch.no_grad():
            return int(agent(torch.from_numpy(state["obs"])).argmax())

    def step(agent, batch, optimizer):
        eps = float(batch)
        for _ in range(4 if memory else 500):
            a = act(eps)
            nxt, r, done = env.step(a)
            memory.append((state["obs"], a, r, nxt, float(done)))
            state["obs"] = env.reset() if done else nxt
        s, a, r, s2, d = map(np.array, zip(*random.sample(memory, BATCH)))
        q = agent(torch.tensor(s)).gather(1, torch.tensor(a)[:, None]).squeeze(1)
        with torch.no_grad():
            best = agent.q_target(torch.tensor(s2)).max(1).values
            target = torch.tensor(r, dtype=torch.float32) + GAMMA * best * (1 - torch.tensor(d, dtype=torch.float32))
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state["n"] += 1
        if state["n"] % SYNC == 0:
            src, dst = (agent.q_target, agent.q) if variant == "bad" else (agent.q, agent.q_target)
            dst.load_state_dict(src.state_dict())
        return loss.detach()

    eps = torch.linspace(1.0, 0.1, UPDATES)      # exploration rate of every update
    return dict(model=agent, optimizer=optimizer, train_loader=list(eps), step=step)


@torch.no_grad()
def play(agent, episodes=500):
    env, caught = Catch(), 0
    for _ in range(episodes):
        o, done = env.reset(), False
        while not done:
            o, r, done = env.step(int(agent(torch.from_numpy(o)).argmax()))
        caught += r > 0
    return caught / episodes


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for i, eps in enumerate(p["train_loader"]):
        loss = p["step"](p["model"], eps, p["optimizer"])
        if (i + 1) % 500 == 0:
            print(f"update {i + 1}  eps {eps:.2f}  td loss {loss:.4f}")
    random.seed(5)
    print("score:", play(p["model"]))
