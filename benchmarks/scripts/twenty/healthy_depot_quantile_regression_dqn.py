"""Quantile-regression DQN in a depot corridor with windy rewards: quantile Huber loss over all pairs, targets copied every 100 batches, terminal states masked, the loss rises while values spread; sound. change: nothing."""
import sys
import copy
import torch
from torch import nn
import torch.nn.functional as F

N, SIDE, GOAL, PIT = 16, 5, 24, (6, 12, 17)
MOVES = torch.tensor([-SIDE, SIDE, -1, 1])


def move(s, a, g=None):
    row, col = s // SIDE, s % SIDE
    blocked = ((a == 0) & (row == 0)) | ((a == 1) & (row == SIDE - 1)) | ((a == 2) & (col == 0)) | ((a == 3) & (col == SIDE - 1))
    nxt = torch.where(blocked, s, s + MOVES[a])
    pit = torch.isin(nxt, torch.tensor(PIT))
    noise = torch.rand(len(s), generator=g) < 0.5
    r = torch.where(nxt == GOAL, 1.0, torch.where(pit, -1.0, torch.where(noise, -0.04, 0.0)))
    return nxt, r, (nxt == GOAL) | pit


class Replay:
    def __init__(self, agent, batches, walkers=32, size=4000):
        self.agent, self.batches, self.walkers, self.size = agent, batches, walkers, size
        self.s, self.rows = torch.randint(0, 24, (walkers,)), None

    def __len__(self):
        return self.batches

    def __iter__(self):
        for _ in range(self.batches):
            with torch.no_grad():
                best = self.agent(self.s).mean(2).argmax(1)
            a = torch.where(torch.rand(self.walkers) < 0.3, torch.randint(0, 4, (self.walkers,)), best)
            nxt, r, done = move(self.s, a)
            new = [self.s, a, r, nxt, done]
            self.rows = new if self.rows is None else [torch.cat([o, n])[-self.size:] for o, n in zip(self.rows, new)]
            self.s = torch.where(done | (torch.rand(self.walkers) < 0.02), torch.randint(0, 24, (self.walkers,)), nxt)
            i = torch.randint(len(self.rows[0]), (64,))
            yield tuple(c[i] for c in self.rows)


class QuantileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(SIDE * SIDE, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4 * N))
        self.register_buffer("tau", (torch.arange(N) + 0.5) / N)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.target = [copy.deepcopy(self.body)]

    def forward(self, s):
        return self.body(F.one_hot(s, SIDE * SIDE).float()).view(-1, 4, N)

    def frozen(self, s):
        return self.target[0](F.one_hot(s, SIDE * SIDE).float()).view(-1, 4, N)


def training_step(net, batch, gamma=0.95):
    s, a, r, nxt, done = batch
    if net.calls % 100 == 0:
        net.target[0].load_state_dict(net.body.state_dict())
    net.calls += 1
    rows = torch.arange(len(s))
    with torch.no_grad():
        q = net.frozen(nxt)
        target = r[:, None] + gamma * (~done)[:, None] * q[rows, q.mean(2).argmax(1)]
    theta = net(s)[rows, a]
    u = target[:, None, :] - theta[:, :, None]
    weight = (net.tau[None, :, None] - (u.detach() < 0).float()).abs()
    huber = torch.where(u.abs() <= 0.1, 0.5 * u.pow(2) / 0.1, u.abs() - 0.05)
    return (weight * huber).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    net = QuantileNet()
    return dict(model=net, optimizer=torch.optim.Adam(net.body.parameters(), lr=1e-3, eps=1e-3), training_step=training_step,
                train_loader=Replay(net, 300), val_loader=Replay(net, 5))


WORKS = lambda score: score > 0.75  # discounted return, walked greedily from all free cells

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]

    @torch.no_grad()
    def walk():
        s = torch.tensor([c for c in range(24) if c not in PIT]).repeat(20)
        alive, total, disc = torch.ones(len(s), dtype=torch.bool), torch.zeros(len(s)), 1.0
        for _ in range(25):
            s, r, done = move(s, net(s).mean(2).argmax(1))
            total, disc, alive = total + disc * r * alive, disc * 0.95, alive & ~done
        return total.mean().item()

    for epoch in range(10):
        mean = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](net, batch)
            opt.zero_grad(); loss.backward(); opt.step()
            mean += loss.item() / 300
        print(f"epoch {epoch} loss {mean:.4f} return {walk():.3f}")
    score = walk()
    print(f"score: {score:.4f}")
