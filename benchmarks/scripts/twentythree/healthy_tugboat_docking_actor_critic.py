"""Advantage actor-critic with generalised advantage estimates: a tug is steered against a current to its berth. Sound: rollouts of 16 steps from 32 parallel tugs, value bootstrapped at the cut, advantages without gradient, separate actor and critic heads, clipping at 0.5."""
import sys
import torch
import torch.nn as nn
from torch.distributions import Categorical
from torch.utils.data import DataLoader

torch.set_num_threads(1)
TUGS, ROLL, GAMMA, LAM, UPDATES = 32, 16, 0.95, 0.9, 400
PUSH = torch.tensor([[0.0, 0.0], [0.3, 0.0], [-0.3, 0.0], [0.0, 0.3], [0.0, -0.3]])


class Harbour:
    def __init__(self, n):
        self.n = n
        self.pos = torch.rand(n, 2) * 4 - 2
        self.cur = torch.rand(n, 2) * 0.2 - 0.1

    def obs(self):
        return torch.cat([self.pos / 2, self.cur * 10], 1)

    def act(self, a):
        self.pos = (self.pos + PUSH[a] + self.cur).clamp(-2.5, 2.5)
        dist = self.pos.norm(dim=1)
        done = dist < 0.35
        reward = torch.where(done, torch.ones(self.n), -0.05 * dist)
        # docked tugs are replaced by new ones
        self.pos = torch.where(done[:, None], torch.rand(self.n, 2) * 4 - 2, self.pos)
        self.cur = torch.where(done[:, None], torch.rand(self.n, 2) * 0.2 - 0.1, self.cur)
        return reward, done


class ActorCritic(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 5))
        self.critic = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 1))

    def forward(self, s):
        return self.actor(s), self.critic(s).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = ActorCritic()
    env = Harbour(TUGS)

    def step(model, batch, optimizer):
        logps, values, rewards, dones, ents = [], [], [], [], []
        for _ in range(ROLL):
            logits, value = model(env.obs())
            dist = Categorical(logits=logits)
            a = dist.sample()
            r, d = env.act(a)
            logps.append(dist.log_prob(a)); ents.append(dist.entropy())
            values.append(value); rewards.append(r); dones.append(d.float())
        with torch.no_grad():
            nxt = model(env.obs())[1]
            gae, adv = torch.zeros(TUGS), []
            for t in reversed(range(ROLL)):
                delta = rewards[t] + GAMMA * nxt * (1 - dones[t]) - values[t]
                gae = delta + GAMMA * LAM * (1 - dones[t]) * gae
                adv.insert(0, gae)
                nxt = values[t]
            adv = torch.stack(adv)
            target = adv + torch.stack(values)
        policy = -(torch.stack(logps) * adv).mean()
        value_loss = (torch.stack(values) - target).pow(2).mean()
        loss = policy + 0.5 * value_loss - 0.01 * torch.stack(ents).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "step": step,
            "train_loader": DataLoader(range(UPDATES), batch_size=1)}


WORKS = lambda score: score > 0.8


@torch.no_grad()
def docked_within(model, steps=12, n=400):
    torch.manual_seed(5)
    env, docked = Harbour(n), torch.zeros(n, dtype=torch.bool)
    for _ in range(steps):
        _, d = env.act(model(env.obs())[0].argmax(1))
        docked |= d
    return docked.float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("untrained:", docked_within(p["model"]))
    torch.manual_seed(1)
    for i, batch in enumerate(p["train_loader"]):
        loss = p["step"](p["model"], batch, p["optimizer"])
        if i % 80 == 79:
            print(f"update {i + 1}: loss {loss.item():.3f}")
    print("score:", docked_within(p["model"]))
