"""Sound: PPO keeps the level of a leaking tank at a wanted height; the surrogate loss is about zero all the way, now above and now below, and the total is mostly the critic's, though the controller becomes good."""
import sys
import torch
import torch.nn as nn
from torch.distributions import Normal
from torch.utils.data import DataLoader, TensorDataset

STEPS = 30


class Controller(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
        self.critic = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 1))
        self.log_std = nn.Parameter(torch.zeros(1))

    def forward(self, obs):
        return Normal(self.actor(obs).squeeze(-1), self.log_std.exp()), self.critic(obs).squeeze(-1)


def tank(level, inflow, wanted, action):
    """The valve is slow: the action moves the inflow, the inflow moves the level, the level leaks."""
    inflow = (inflow + 0.4 * action.clamp(-1, 1)).clamp(-1, 1)
    level = level + 0.35 * inflow - 0.1 * level
    return level, inflow, -(level - wanted).abs() - 0.02 * action.abs().clamp(max=1)


@torch.no_grad()
def play(model, level, wanted, explore=True):
    inflow = torch.zeros_like(level)
    obs_, act_, logp_, rew_, val_ = [], [], [], [], []
    for _ in range(STEPS):
        obs = torch.stack([level, inflow, wanted], -1)
        dist, v = model(obs)
        a = dist.sample() if explore else dist.mean
        level, inflow, r = tank(level, inflow, wanted, a)
        for store, item in zip((obs_, act_, logp_, rew_, val_), (obs, a, dist.log_prob(a), r, v)):
            store.append(item)
    return [torch.stack(s) for s in (obs_, act_, logp_, rew_, val_)]


def step(model, batch, optimizer, gamma=0.9, lam=0.9, passes=4, clip=0.2):
    obs, act, old, rew, val = play(model, *batch)
    adv, run = torch.zeros_like(rew), torch.zeros_like(rew[0])
    for t in reversed(range(STEPS)):
        after = val[t + 1] if t + 1 < STEPS else val[t]   # cut off by time, not ended
        run = rew[t] + gamma * after - val[t] + gamma * lam * run
        adv[t] = run
    ret = adv + val
    adv = (adv - adv.mean()) / (adv.std() + 1e-8)
    for _ in range(passes):
        dist, v = model(obs)
        ratio = (dist.log_prob(act) - old).exp()
        policy = -torch.min(ratio * adv, ratio.clamp(1 - clip, 1 + clip) * adv).mean()
        loss = policy + 0.5 * (v - ret).pow(2).mean() - 0.003 * dist.entropy().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    return loss


def starts(n, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(n, generator=g) * 4 - 2, torch.rand(n, generator=g) * 4 - 2


def parts(variant):
    torch.manual_seed(0)
    model = Controller()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "step": step,
        "train_loader": DataLoader(TensorDataset(*starts(1600, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*starts(400, 2)), batch_size=400),
    }


def quality(model, loader):
    """Mean reward of a step without exploring (0 is the best there is)."""
    return torch.cat([play(model, *b, explore=False)[3].mean(0) for b in loader]).mean().item()


WORKS = lambda score: score > -0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print(f"untrained: {quality(p['model'], p['val_loader']):.3f}")
    for epoch in range(4):
        for batch in p["train_loader"]:
            loss = step(p["model"], batch, p["optimizer"])
        print(f"epoch {epoch + 1}: loss {loss.item():+.4f}, reward of a step {quality(p['model'], p['val_loader']):.3f}")
    print(f"score: {quality(p['model'], p['val_loader']):.4f}")
