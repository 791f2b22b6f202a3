"""Advantage actor-critic with two optimizers for a pedestrian light (state: cars, waiting people, three actions); after the actor's backward the critic's optimizer is stepped a second time and the actor's never ("bad"); change: step the actor's."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 3))

    def forward(self, s):
        return torch.distributions.Categorical(logits=self.body(s))


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 48), nn.Tanh(), nn.Linear(48, 1))

    def forward(self, s):
        return self.body(s).squeeze(-1)


def advance(state, action):
    """Cars first (0), people first (1), long green for both in turn (2)."""
    cars, people, dark = state.unbind(1)
    served_cars = torch.tensor([0.9, 0.0, 0.35])[action]
    served_people = torch.tensor([0.0, 0.9, 0.35])[action]
    cars = (cars + 0.4 * torch.rand(len(cars)) * (1 - 0.5 * dark) - served_cars).clamp(0, 3)
    people = (people + 0.3 * torch.rand(len(cars)) - served_people).clamp(0, 3)
    return torch.stack([cars, people, dark], 1), -(cars + people)


def starts(n):
    return torch.cat([torch.rand(n, 2) * 3, torch.randint(2, (n, 1)).float()], 1)


def parts(variant):
    torch.manual_seed(0)
    model = nn.ModuleDict({"actor": Actor(), "critic": Critic()})
    optimizer = {"actor": torch.optim.Adam(model["actor"].parameters(), lr=3e-3),
                 "critic": torch.optim.Adam(model["critic"].parameters(), lr=5e-3)}

    def step(model, batch, optimizer):
        actor, critic = model["actor"], model["critic"]
        s = batch[0]
        states, logps, rewards, ents = [], [], [], []
        for _ in range(8):
            pi = actor(s)
            a = pi.sample()
            states.append(s)
            logps.append(pi.log_prob(a))
            ents.append(pi.entropy())
            s, r = advance(s, a)
            rewards.append(r)
        with torch.no_grad():
            ret = critic(s)
        returns = []
        for r in reversed(rewards):
            ret = r + 0.9 * ret
            returns.insert(0, ret)
        returns = torch.stack(returns)
        values = critic(torch.stack(states))
        advantage = (returns - values).detach()

        critic_loss = (returns - values).pow(2).mean()
        optimizer["critic"].zero_grad()
        critic_loss.backward()
        optimizer["critic"].step()

        actor_loss = -(torch.stack(logps) * advantage).mean() - 0.01 * torch.stack(ents).mean()
        optimizer["actor"].zero_grad()
        actor_loss.backward()
        if variant == "bad":
            optimizer["critic"].step()
        else:
            optimizer["actor"].step()
        return critic_loss.detach() + actor_loss.detach()

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(starts(3200)), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(starts(800)), batch_size=200)}


def mean_queue(actor, loader):
    total = 0.0
    with torch.no_grad():
        for s, in loader:
            for _ in range(30):
                s, r = advance(s, actor(s).sample())
                total += -r.mean().item() / 30 / len(loader)
    return total


# mean length of both queues over 30 changes of the light
WORKS = lambda score: score < 0.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(12):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.3f} queue {mean_queue(p['model']['actor'], p['val_loader']):.3f}")
    score = mean_queue(p["model"]["actor"], p["val_loader"])
    print(f"score: {score:.4f}")
