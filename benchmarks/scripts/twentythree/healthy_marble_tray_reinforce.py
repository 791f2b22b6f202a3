"""REINFORCE with discounted rewards-to-go and a per-time-step mean baseline: tilt a tray to keep a marble in the middle. Sound: 32 parallel episodes of fixed length per update, a small entropy bonus, actions' log-probabilities from the step they were drawn."""
import sys
import torch
import torch.nn as nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
EPISODES, LENGTH, GAMMA, DT = 32, 40, 0.95, 0.1


class Starts(Dataset):
    """starting positions and speeds"""
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.s = (torch.rand(n, 2, generator=g) * 2 - 1) * torch.tensor([1.0, 0.5])

    def __len__(self):
        return len(self.s)

    def __getitem__(self, i):
        return self.s[i]


def physics(state, action):
    push = (action.float() - 1) * 2.0
    x, v = state[:, 0], state[:, 1]
    v = v + DT * (push + 0.8 * x)              # the tray bulges: the middle is unstable
    x = x + DT * v
    reward = torch.exp(-4 * x ** 2)
    return torch.stack([x.clamp(-3, 3), v.clamp(-4, 4)], 1), reward


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 3))

    def forward(self, s):
        return self.net(s)


def step(model, batch, optimizer):
    state = batch
    logps, rewards, entropies = [], [], []
    for _ in range(LENGTH):
        dist = Categorical(logits=model(state))
        action = dist.sample()
        logps.append(dist.log_prob(action))
        entropies.append(dist.entropy())
        state, r = physics(state, action)
        rewards.append(r)
    returns, g = [], torch.zeros(len(state))
    for r in reversed(rewards):
        g = r + GAMMA * g
        returns.insert(0, g)
    returns = torch.stack(returns)                                  # time x episodes
    advantage = returns - returns.mean(dim=1, keepdim=True)
    advantage = advantage / (advantage.std() + 1e-6)
    loss = -(torch.stack(logps) * advantage).mean() - 0.005 * torch.stack(entropies).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = Policy()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3), "step": step,
            "train_loader": DataLoader(Starts(EPISODES * 220, 0), batch_size=EPISODES, shuffle=True)}


WORKS = lambda score: score > 0.7


@torch.no_grad()
def mean_reward(model):
    state, total = torch.stack([s for s in Starts(200, 1)]), 0
    for _ in range(LENGTH):
        state, r = physics(state, model(state).argmax(1))
        total += r.mean().item()
    return total / LENGTH


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for i, batch in enumerate(p["train_loader"]):
        step(p["model"], batch, p["optimizer"])
        if i % 70 == 0:
            print(f"update {i}: greedy mean reward {mean_reward(p['model']):.3f}")
    print("score:", mean_reward(p["model"]))
