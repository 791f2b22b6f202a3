"""REINFORCE learns to keep a polytunnel near its set temperature with seven vent settings; the next gust is announced. Mistake: the log probabilities of an episode are averaged first and the average is multiplied by the sum of the returns, so no action gets its own return. change: every log probability is multiplied by its own return."""
import sys

import torch
from torch import nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, TensorDataset

MINUTES, GAMMA = 60, 0.5


def weather(days, seed):
    g = torch.Generator().manual_seed(seed)
    start = torch.rand(days, generator=g) * 2 - 1
    gusts = 0.4 * torch.randn(days, MINUTES, generator=g)
    return TensorDataset(start, gusts)


class VentPolicy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 7))

    def forward(self, temperature, gust):
        return Categorical(logits=self.net(torch.stack([temperature, gust], -1)))


def run_days(policy, start, gusts, greedy=False):
    temperature, probs, rewards = start, [], []
    for t in range(MINUTES):
        dist = policy(temperature, gusts[:, t])
        action = dist.probs.argmax(-1) if greedy else dist.sample()
        probs.append(dist.log_prob(action))
        temperature = (temperature + gusts[:, t] + 0.35 * (action - 3)).clamp(-2, 2)
        rewards.append((temperature.abs() < 0.3).float())
    return torch.stack(probs, 1), torch.stack(rewards, 1)


def parts(variant):
    torch.manual_seed(0)
    policy = VentPolicy()

    def training_step(model, batch):
        log_probs, rewards = run_days(model, *batch)
        running_g, gs = torch.zeros(len(rewards)), []
        for t in reversed(range(MINUTES)):
            running_g = rewards[:, t] + GAMMA * running_g
            gs.insert(0, running_g)
        deltas = torch.stack(gs, 1)
        if variant == "bad":
            log_prob_mean = log_probs.mean(1, keepdim=True)
            return -(log_prob_mean * deltas).sum(1).mean()
        return -(log_probs * deltas).sum(1).mean()

    return {"model": policy, "optimizer": torch.optim.AdamW(policy.parameters(), lr=4e-3),
            "training_step": training_step,
            "train_loader": DataLoader(weather(160, 1), batch_size=4, shuffle=True),
            "val_loader": DataLoader(weather(200, 2), batch_size=200)}


WORKS = lambda score: score > 0.8


def comfort(policy, loader):
    with torch.no_grad():
        return torch.cat([run_days(policy, *batch, greedy=True)[1].mean(1) for batch in loader]).mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    policy, optimizer = p["model"], p["optimizer"]
    for epoch in range(11):
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](policy, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {sum(losses) / len(losses):.3f}  comfortable minutes {comfort(policy, p['val_loader']):.3f}")
    score = comfort(policy, p["val_loader"])
    print(f"score: {score:.4f}")
