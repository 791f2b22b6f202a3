"""REINFORCE with batch-normalised returns and an entropy bonus on a grid world; no mistake: the loss hovers round zero and does not fall while the agent learns; change: none."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical

SIZE, T, B = 6, 16, 48
MOVES = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])
WORKS = lambda score: score > 0.85         # share of episodes in which the sampled policy gets to the goal


def start(n):
    return torch.randint(0, SIZE, (n, 2)), torch.randint(0, SIZE, (n, 2))


def observe(pos, goal):
    return torch.cat([F.one_hot(t, SIZE).flatten(1).float() for t in (pos, goal)], 1)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4 * SIZE, 96), nn.Tanh(), nn.Linear(96, 4))

    def forward(self, x):
        return Categorical(logits=self.net(x))


def rollout(policy, n):
    pos, goal = start(n)
    alive = (pos != goal).any(1)
    logps, rewards, masks, ents = [], [], [], []
    for _ in range(T):
        dist = policy(observe(pos, goal))
        a = dist.sample()
        pos = (pos + MOVES[a] * alive[:, None]).clamp(0, SIZE - 1)
        there = (pos == goal).all(1)
        logps.append(dist.log_prob(a))
        ents.append(dist.entropy())
        masks.append(alive.float())
        rewards.append(torch.where(there & alive, 1.0, -0.02) * alive)
        alive = alive & ~there
    return map(torch.stack, (logps, rewards, masks, ents)), (~alive).float().mean().item()


def parts(variant="fixed"):
    torch.manual_seed(0)
    policy = Policy()
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=1e-3)

    def step(policy, batch, optimizer):
        (logp, rew, mask, ent), step.success = rollout(policy, B)
        ret, run = torch.zeros_like(rew), torch.zeros(B)
        for t in reversed(range(T)):
            run = rew[t] + 0.95 * run
            ret[t] = run
        m = mask > 0
        adv = (ret - ret[m].mean()) / (ret[m].std() + 1e-6)
        loss = -((logp * adv + 0.01 * ent) * mask).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return dict(model=policy, optimizer=optimizer, train_loader=[torch.tensor(i) for i in range(700)], step=step)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    step, hist = p["step"], []
    for i, b in enumerate(p["train_loader"], 1):
        loss = step(p["model"], b, p["optimizer"])
        hist.append(step.success)
        if i % 100 == 0:
            print(f"iteration {i}: loss {loss:+.3f}  success {sum(hist[-50:]) / 50:.2f}")
    torch.manual_seed(11)
    with torch.no_grad():
        print("score:", round(rollout(p["model"], 2000)[1], 4))
