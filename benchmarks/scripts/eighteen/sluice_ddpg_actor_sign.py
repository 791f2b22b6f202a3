"""DDPG for a sluice gate that keeps a pond at its level; the actor's loss is the critic's value itself, so the actor looks for the worst action (bad). change: the actor minimises minus the value."""
import copy
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GAMMA, TAU = 0.9, 0.02


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor = nn.Sequential(nn.Linear(3, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def flow(state, action):
    """level, inflow, wanted level -> next state and reward"""
    level, inflow, wanted = state.unbind(1)
    level = level + 0.4 * action.squeeze(1) + 0.2 * inflow
    inflow = 0.8 * inflow + 0.3 * torch.randn_like(inflow)
    return torch.stack([level.clamp(-3, 3), inflow, wanted], 1), -(level.clamp(-3, 3) - wanted).abs()


def ponds(n, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.stack([2 * torch.rand(n, generator=g) - 1, 0.5 * torch.randn(n, generator=g), 2 * torch.rand(n, generator=g) - 1], 1))


def parts(variant):
    torch.manual_seed(0)
    agent = Agent()
    target = copy.deepcopy(agent).requires_grad_(False)
    memory = []

    def step(agent, batch, optimizer):
        opt_actor, opt_critic = optimizer
        s, = batch
        for _ in range(10):
            with torch.no_grad():
                a = (agent.actor(s) + 0.3 * torch.randn(len(s), 1)).clamp(-1, 1)
            s2, r = flow(s, a)
            memory.append((s, a, r, s2))
            s = s2
        del memory[:-400]
        for _ in range(5):
            picks = torch.randint(0, len(memory), (8,)).tolist()
            s, a, r, s2 = (torch.cat(v) for v in zip(*[memory[i] for i in picks]))
            with torch.no_grad():
                y = r + GAMMA * target.critic(torch.cat([s2, target.actor(s2)], 1)).squeeze(1)
            critic_loss = F.mse_loss(agent.critic(torch.cat([s, a], 1)).squeeze(1), y)
            opt_critic.zero_grad()
            critic_loss.backward()
            opt_critic.step()

            value = agent.critic(torch.cat([s, agent.actor(s)], 1))
            actor_loss = value.mean() if variant == "bad" else -value.mean()
            opt_actor.zero_grad()
            actor_loss.backward()
            opt_actor.step()
            for p, q in zip(target.parameters(), agent.parameters()):
                p.data.lerp_(q.data, TAU)
        return critic_loss

    optimizer = (torch.optim.Adam(agent.actor.parameters(), lr=1e-3), torch.optim.Adam(agent.critic.parameters(), lr=2e-3))
    return {"model": agent, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(ponds(320, 1), 16, shuffle=True), "val_loader": DataLoader(ponds(256, 2), 256)}


@torch.no_grad()
def distance(agent, loader):
    s, = next(iter(loader))
    off = []
    for t in range(40):
        s, r = flow(s, agent.actor(s))
        if t >= 10:
            off.append(-r.mean())
    return torch.stack(off).mean().item()


WORKS = lambda score: score < 0.4  # mean distance from the wanted level

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        print(f"epoch {epoch + 1}: critic loss {loss.item():.4f}, off by {distance(p['model'], p['val_loader']):.3f}")
    print(f"score: {distance(p['model'], p['val_loader']):.4f}")
