"""DQN that keeps the water level of a canal lock, with a slowly following target net. The actions, in training and in use, are taken from the target net, which is there to stabilise the targets only and has hardly moved from its start, so the return stays low while the loss falls; the right change: act with the net that is trained.
Report: https://github.com/NVIDIA/TorchFort/pull/103"""
import copy
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
ACTIONS = torch.tensor([-0.3, -0.1, 0.0, 0.1, 0.3])


class CanalLock:
    """32 locks at once; level and inflow, the gate changes the level"""

    def __init__(self, n=32, seed=0):
        self.n, self.gen = n, torch.Generator().manual_seed(seed)
        self.reset()

    def reset(self):
        self.level = torch.rand(self.n, generator=self.gen) * 2 - 1
        self.inflow = torch.randn(self.n, generator=self.gen) * 0.1
        self.t = 0
        return self.obs()

    def obs(self):
        return torch.stack([self.level, self.inflow * 5], 1)

    def step(self, a):
        self.level = (self.level + self.inflow + ACTIONS[a]).clamp(-2, 2)
        self.inflow = 0.9 * self.inflow + 0.05 * torch.randn(self.n, generator=self.gen)
        self.t += 1
        return self.obs(), -self.level.abs(), self.t >= 30


class Agent(nn.Module):
    def __init__(self, act_with, eps=0.2):
        super().__init__()
        self.q = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
        self.q_target = copy.deepcopy(self.q).requires_grad_(False)
        self.act_with, self.eps = act_with, eps

    def forward(self, s):
        return self.q(s)

    @torch.no_grad()
    def predict(self, s, explore=False):
        a = getattr(self, self.act_with)(s).argmax(1)
        if explore:
            rnd = torch.rand(len(a)) < self.eps
            a = torch.where(rnd, torch.randint(0, 5, a.shape), a)
        return a


class Rollouts:
    """acts in the locks and gives a batch from the replay buffer after every step"""

    def __init__(self, agent, steps=1200, batch=64, size=20000):
        self.agent, self.steps, self.batch, self.size = agent, steps, batch, size
        self.env, self.buffer = CanalLock(), []
        self.s = self.env.reset()

    def __len__(self):
        return self.steps

    def __iter__(self):
        for _ in range(self.steps):
            a = self.agent.predict(self.s, explore=True)
            s2, r, end = self.env.step(a)
            self.buffer.extend(zip(self.s, a, r, s2))
            self.buffer = self.buffer[-self.size:]
            self.s = self.env.reset() if end else s2
            pick = np.random.randint(0, len(self.buffer), self.batch)
            yield tuple(torch.stack(c) for c in zip(*(self.buffer[k] for k in pick)))


def step(agent, batch, optimizer, gamma=0.9, rho=0.9998):
    s, a, r, s2 = batch
    with torch.no_grad():
        y = r + gamma * agent.q_target(s2).max(1).values
    loss = F.smooth_l1_loss(agent.q(s).gather(1, a[:, None])[:, 0], y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for t, w in zip(agent.q_target.parameters(), agent.q.parameters()):
            t.lerp_(w, 1 - rho)
    return loss


def parts(variant):
    torch.manual_seed(0)
    np.random.seed(0)
    agent = Agent(act_with="q_target" if variant == "bad" else "q")
    return {"model": agent, "optimizer": torch.optim.Adam(agent.q.parameters(), lr=1e-3), "step": step, "train_loader": Rollouts(agent)}


WORKS = lambda score: score > -0.25

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    agent, optimizer = p["model"], p["optimizer"]
    losses = []
    for i, batch in enumerate(p["train_loader"]):
        losses.append(step(agent, batch, optimizer).item())
        if i % 200 == 199:
            print(f"step {i + 1}: loss {np.mean(losses[-200:]):.4f}")
    env = CanalLock(n=200, seed=9)
    s, end, total = env.reset(), False, []
    while not end:
        s, r, end = env.step(agent.predict(s))
        total.append(r.mean().item())
    print("score:", np.mean(total))
