"""Soft actor-critic bringing a swinging hook to rest: two critics, targets averaged, temperature learned from its own loss (with a minus), tanh-squashed action with its log-density correction; sound. change: nothing."""
import sys
import copy
import torch
from torch import nn
import torch.nn.functional as F


def dynamics(s, a):
    th, om = s[:, :1], s[:, 1:]
    om = om + 0.1 * (-1.5 * torch.sin(th) - 0.05 * om + 3.0 * a)
    th = th + 0.1 * om
    nxt = torch.cat([th, om], 1).clamp(-4, 4)
    return nxt, -(th.pow(2) + 0.2 * om.pow(2) + 0.02 * a.pow(2)).squeeze(1)


class Transitions:
    """Acts with the current policy in 16 hooks at once and hands out replayed batches."""

    def __init__(self, agent, batches, random=False):
        self.agent, self.batches, self.s, self.age, self.mem = agent, batches, torch.empty(16, 2).uniform_(-2, 2), 0, []

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            with torch.no_grad():
                a = torch.empty(16, 1).uniform_(-1, 1) if len(self.mem) < 30 else self.agent.act(self.s)[0]
                nxt, r = dynamics(self.s, a)
            self.mem.append((self.s, a, r, nxt))
            self.s, self.age = nxt, self.age + 1
            if self.age % 50 == 0:
                self.s = torch.empty(16, 2).uniform_(-2, 2)
            pick = torch.randint(len(self.mem), (128,)), torch.randint(16, (128,))
            rows = [tuple(f[j] for f in self.mem[i]) for i, j in zip(*(p.tolist() for p in pick))]
            yield tuple(torch.stack(c) for c in zip(*rows))


def mlp(i, o, h=48):
    return nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU(), nn.Linear(h, o))


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.pi, self.q1, self.q2 = mlp(2, 2), mlp(3, 1), mlp(3, 1)
        self.q1_t, self.q2_t = (copy.deepcopy(q).requires_grad_(False) for q in (self.q1, self.q2))
        self.log_alpha = nn.Parameter(torch.zeros(()))

    def act(self, s, explore=True):
        mu, log_std = self.pi(s).chunk(2, 1)
        dist = torch.distributions.Normal(mu, log_std.clamp(-5, 1).exp())
        u = dist.rsample() if explore else mu
        logp = dist.log_prob(u) - 2 * (0.6931 - u - F.softplus(-2 * u))
        return torch.tanh(u), logp.squeeze(1)

    def forward(self, s):
        return self.act(s, explore=False)[0]


def training_step(agent, batch, gamma=0.95, target_entropy=-1.0):
    s, a, r, nxt = batch
    alpha = agent.log_alpha.exp().detach()
    with torch.no_grad():
        for t, q in ((agent.q1_t, agent.q1), (agent.q2_t, agent.q2)):
            for x, y in zip(t.parameters(), q.parameters()):
                x.lerp_(y, 0.02)
        a2, logp2 = agent.act(nxt)
        both = torch.cat([nxt, a2], 1)
        target = r + gamma * (torch.min(agent.q1_t(both), agent.q2_t(both)).squeeze(1) - alpha * logp2)
    sa = torch.cat([s, a], 1)
    critic = F.mse_loss(agent.q1(sa).squeeze(1), target) + F.mse_loss(agent.q2(sa).squeeze(1), target)
    new_a, logp = agent.act(s)
    for q in (agent.q1, agent.q2):
        q.requires_grad_(False)
    sa = torch.cat([s, new_a], 1)
    actor = (alpha * logp - torch.min(agent.q1(sa), agent.q2(sa)).squeeze(1)).mean()
    for q in (agent.q1, agent.q2):
        q.requires_grad_(True)
    temperature = -(agent.log_alpha * (logp.detach() + target_entropy)).mean()
    return critic + actor + temperature


def parts(variant):
    torch.manual_seed(0)
    agent = Agent()
    opt = torch.optim.Adam([w for w in agent.parameters() if w.requires_grad], lr=2e-3)
    return dict(model=agent, optimizer=opt, training_step=training_step, train_loader=Transitions(agent, 150), val_loader=Transitions(agent, 5))


WORKS = lambda score: score > -25  # mean return of 50 steps from random starts without noise; an untrained policy has about -99

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    agent, opt = p["model"], p["optimizer"]

    def evaluate():
        s, total = torch.empty(200, 2, ).uniform_(-2, 2, generator=torch.Generator().manual_seed(5)), 0
        with torch.no_grad():
            for _ in range(50):
                s, r = dynamics(s, agent(s))
                total = total + r
        return total.mean().item()

    print("before", evaluate())
    for epoch in range(8):
        mean = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](agent, batch)
            loss.backward()
            opt.step()
            mean += loss.item() / 150
        print(f"epoch {epoch} loss {mean:.3f} return {evaluate():.2f} alpha {agent.log_alpha.exp().item():.3f}")
    score = evaluate()
    print(f"score: {score:.4f}")
