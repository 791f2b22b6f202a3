"""Deep Q-learning: a controller waters two lawns over a day of 20 decisions without drying or drowning them. Nothing odd: replay memory, target network copied every 100 updates, smooth L1, no bootstrap past the end of the day (the hour is in the state); mean return of greedy days."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
HORIZON, ACTIONS, GAMMA = 20, 3, 0.95


class Lawns:
    """A batch of gardens at once: actions are wait, water the front lawn, water the back lawn."""

    def __init__(self, moisture):
        self.m, self.t = moisture.clone(), 0
        self.sun = torch.rand(len(moisture))

    def observe(self):
        hour = torch.full((len(self.m), 1), self.t / HORIZON)
        return torch.cat([self.m * 2 - 1, self.sun[:, None] * 2 - 1, hour * 2 - 1], 1)

    def act(self, a):
        gain = 0.25 * torch.stack([(a == 1).float(), (a == 2).float()], 1)
        dry = (0.04 + 0.08 * self.sun)[:, None] * torch.tensor([1.0, 0.7])
        self.m = (self.m + gain - dry + 0.02 * torch.randn_like(self.m)).clamp(0, 1)
        self.sun = (self.sun + 0.1 * torch.randn_like(self.sun)).clamp(0, 1)
        self.t += 1
        reward = 0.5 - 2 * (self.m - 0.6).abs().sum(1) - 0.1 * (a > 0).float()
        return reward, self.t == HORIZON


class Replay:
    def __init__(self, size, obs_dim):
        self.s, self.s2 = torch.zeros(size, obs_dim), torch.zeros(size, obs_dim)
        self.a, self.r, self.end = torch.zeros(size, dtype=torch.long), torch.zeros(size), torch.zeros(size)
        self.size, self.at, self.full = size, 0, 0

    def add(self, s, a, r, s2, end):
        idx = (self.at + torch.arange(len(a))) % self.size
        self.s[idx], self.a[idx], self.r[idx], self.s2[idx], self.end[idx] = s, a, r, s2, float(end)
        self.at = (self.at + len(a)) % self.size
        self.full = min(self.size, self.full + len(a))

    def draw(self, n):
        i = torch.randint(self.full, (n,))
        return self.s[i], self.a[i], self.r[i], self.s2[i], self.end[i]


def q_network():
    return nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, ACTIONS))


class DQNStep:
    def __init__(self, model):
        self.target = q_network()
        self.target.load_state_dict(model.state_dict())
        self.memory, self.updates, self.days = Replay(10000, 4), 0, 0

    def __call__(self, model, batch, optimizer):
        env, end = Lawns(batch[0]), False
        eps = max(0.05, 1 - self.days / 60)
        obs = env.observe()
        while not end:
            with torch.no_grad():
                greedy = model(obs).argmax(1)
            a = torch.where(torch.rand(len(obs)) < eps, torch.randint(0, ACTIONS, (len(obs),)), greedy)
            r, end = env.act(a)
            new = env.observe()
            self.memory.add(obs, a, r, new, end)
            obs = new
            s, act, rew, s2, done = self.memory.draw(64)
            with torch.no_grad():
                goal = rew + GAMMA * (1 - done) * self.target(s2).max(1).values
            loss = F.smooth_l1_loss(model(s).gather(1, act[:, None]).squeeze(1), goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            self.updates += 1
            if self.updates % 100 == 0:
                self.target.load_state_dict(model.state_dict())
        self.days += 1
        return loss.detach()


@torch.no_grad()
def greedy_return(model, gardens=300):
    env, total, end = Lawns(0.2 + 0.7 * torch.rand(gardens, 2)), 0.0, False
    while not end:
        r, end = env.act(model(env.observe()).argmax(1))
        total += r.mean().item()
    return total


def parts(variant):
    torch.manual_seed(7)
    model = q_network()
    mornings = 0.2 + 0.7 * torch.rand(2560, 2)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "step": DQNStep(model),
            "train_loader": DataLoader(TensorDataset(mornings), batch_size=16, shuffle=True)}


WORKS = lambda score: score > 0.0

if __name__ == "__main__":
    p = parts("fixed")
    print("before:", round(greedy_return(p["model"]), 2))
    for i, batch in enumerate(p["train_loader"]):
        p["step"](p["model"], batch, p["optimizer"])
        if i % 40 == 39:
            score = greedy_return(p["model"])
            print(f"after {i + 1} days: return {score:.2f}")
    print("score:", score)
