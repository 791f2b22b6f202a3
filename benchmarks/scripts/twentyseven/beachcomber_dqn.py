"""A DQN learns from a beachcomber's logged walks: close to the hut lies a heap of bottle caps (0.3), at the far end of the beach amber (1.0); both end the walk and a new one begins at the hut. The target adds the value of the next state at the end of a walk too, which is the start of the next walk, so the nearby heap seems worth taking for ever; the right change: multiply the bootstrap term with (1 - done)."""
import copy
import sys
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
LENGTH, HUT, GAMMA = 8, 1, 0.95        # places 0 (heap) ... 7 (amber); a walk starts at place 1


class Transition(NamedTuple):
    obs: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    next_obs: torch.Tensor
    done: torch.Tensor


class Beach:
    """n beaches side by side; a finished walk starts anew by itself."""

    def __init__(self, n):
        self.place = torch.full((n,), HUT)

    def observe(self):
        seen = F.one_hot(self.place, LENGTH).float()
        return torch.cat([seen + 0.05 * torch.randn_like(seen), 0.3 * torch.randn(len(seen), 2)], dim=1)

    def step(self, action):
        slip = torch.rand(len(action)) < 0.03
        move = torch.where(slip, 1 - action, action) * 2 - 1
        self.place = self.place + move
        reward = 0.3 * (self.place == 0).float() + 1.0 * (self.place == LENGTH - 1).float()
        done = (self.place == 0) | (self.place == LENGTH - 1)
        self.place = torch.where(done, HUT, self.place)
        return self.observe(), reward, done.float()


class WalkLog(Dataset):
    def __init__(self, n=5000, walkers=50):
        beach, self.rows = Beach(walkers), []
        obs = beach.observe()
        while len(self.rows) < n:
            action = (torch.rand(walkers) < 0.6).long()
            next_obs, reward, done = beach.step(action)
            self.rows += [Transition(*row) for row in zip(obs, action, reward, next_obs, done)]
            obs = next_obs

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class DQN(nn.Module):
    def __init__(self):
        super().__init__()
        self.online = nn.Sequential(nn.Linear(LENGTH + 2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.updates = 0

    def forward(self, obs):
        return self.online(obs)

    def sync(self, every=50):
        self.updates += 1
        if self.updates % every == 0:
            self.target.load_state_dict(self.online.state_dict())


def make_step(variant):
    def step(model, batch, optimizer):
        q = model(batch.obs).gather(1, batch.action[:, None]).squeeze(1)
        with torch.no_grad():
            next_q = model.target(batch.next_obs).max(dim=1).values
            if variant != "bad":
                next_q = next_q * (1 - batch.done)
            target = batch.reward + GAMMA * next_q
        loss = F.smooth_l1_loss(q, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.sync()
        return loss.detach()
    return step


def parts(variant):
    torch.manual_seed(4)
    model = DQN()
    return {"model": model, "optimizer": torch.optim.RMSprop(model.online.parameters(), lr=5e-4),
            "step": make_step(variant), "train_loader": DataLoader(WalkLog(), batch_size=64, shuffle=True)}


@torch.no_grad()
def mean_find(model, n=300, limit=40):
    beach = Beach(n)
    obs, found, open_ = beach.observe(), torch.zeros(n), torch.ones(n)
    for _ in range(limit):
        obs, reward, done = beach.step(model(obs).argmax(1))
        found += open_ * reward
        open_ = open_ * (1 - done)
    return found.mean().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(14):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: td loss {sum(losses) / len(losses):.4f}, mean find {mean_find(p['model']):.3f}")
    print("score:", mean_find(p["model"]))
