"""Forward kinematics of a three-joint arm by an MLP with BatchNorm whose forward calls F.silu without keeping what it returns, so linear layers and batch norms are all there is; change: h = F.silu(...)."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

LINKS = (1.0, 0.7, 0.4)


def sample_arm(n, seed):
    g = torch.Generator().manual_seed(seed)
    q = (torch.rand(n, 3, generator=g) * 2 - 1) * torch.tensor([3.1, 2.2, 2.2])
    a = q.cumsum(1)
    xy = torch.stack([sum(l * torch.cos(a[:, i]) for i, l in enumerate(LINKS)),
                      sum(l * torch.sin(a[:, i]) for i, l in enumerate(LINKS))], 1)
    return q / 1.5, xy


class KinematicsNet(nn.Module):
    def __init__(self, width=96, keep=True):
        super().__init__()
        self.keep = keep
        self.fc1 = nn.Linear(3, width)
        self.bn1 = nn.BatchNorm1d(width)
        self.fc2 = nn.Linear(width, width)
        self.bn2 = nn.BatchNorm1d(width)
        self.fc3 = nn.Linear(width, width)
        self.out = nn.Linear(width, 2)

    def forward(self, q):
        h = self.bn1(self.fc1(q))
        h = self.act(h)
        h = self.bn2(self.fc2(h))
        h = self.act(h)
        h = self.fc3(h)
        h = self.act(h)
        return self.out(h)

    def act(self, h):
        if self.keep:
            h = F.silu(h)
        else:
            F.silu(h)
        return h


def parts(variant):
    torch.manual_seed(0)
    train, test = sample_arm(6000, 1), sample_arm(1000, 2)
    model = KinematicsNet(keep=variant != "bad")
    return dict(
        model=model,
        optimizer=torch.optim.RMSprop(model.parameters(), lr=1e-3),
        train_loader=DataLoader(TensorDataset(*train), batch_size=64, shuffle=True),
        val_loader=DataLoader(TensorDataset(*test), batch_size=500),
        loss_fn=nn.SmoothL1Loss(),
    )


WORKS = lambda score: score > 0.9  # R2 of the tip's position


def r_squared(model, loader):
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    model.train()
    return (1 - ((out - y) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, crit = p["model"], p["optimizer"], p["loss_fn"]
    step = 0
    for epoch in range(20):
        for q, xy in p["train_loader"]:
            opt.zero_grad()
            loss = crit(net(q), xy)
            loss.backward()
            opt.step()
            step += 1
            if step % 400 == 0:
                print(f"step {step}: loss {loss.item():.4f}  R2 {r_squared(net, p['val_loader']):.3f}")
    print("score: %.4f" % r_squared(net, p["val_loader"]))
