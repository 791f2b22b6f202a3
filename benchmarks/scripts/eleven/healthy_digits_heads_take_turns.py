"""Sound program: three tasks on sklearn's digits with one trunk, Adagrad; each batch trains one task only, in turns, so that two of the three heads have no gradient in any one step and the loss jumps between three levels."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class Trunk(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU())
        self.digit, self.holes, self.ink = nn.Linear(64, 10), nn.Linear(64, 3), nn.Linear(64, 1)

    def forward(self, x):
        h = self.conv(x)
        return self.digit(h), self.holes(h), self.ink(h).squeeze(1)


def data():
    bunch = load_digits()
    x = torch.tensor(bunch.images, dtype=torch.float32)[:, None]
    digit = torch.tensor(bunch.target)
    holes = torch.tensor([1, 0, 0, 0, 0, 0, 1, 0, 2, 1])[digit]
    centre = (x[:, 0] * torch.arange(8.0)[:, None]).sum((1, 2)) / x.sum((1, 2, 3))     # height of the centre of the ink
    centre = (centre - centre.mean()) / centre.std()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(1))
    x = (x - x.mean()) / x.std()
    columns = [v[order] for v in (x, digit, holes, centre)]
    return [v[:1300] for v in columns], [v[1300:] for v in columns]


def losses(model, batch):
    x, digit, holes, ink = batch
    a, b, c = model(x)
    return [F.cross_entropy(a, digit), F.cross_entropy(b, holes), F.mse_loss(c, ink)]


def parts(variant):
    torch.manual_seed(0)
    train, val = data()
    model = Trunk()
    turn = {"now": 0}

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        loss = losses(model, batch)[turn["now"] % 3]
        turn["now"] += 1
        loss.backward()
        optimizer.step()
        return loss.detach()

    return {
        "model": model,
        "optimizer": torch.optim.Adagrad(model.parameters(), lr=0.01),
        "train_loader": DataLoader(TensorDataset(*train), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*val), batch_size=500),
        "step": step,
    }


WORKS = lambda score: score > 0.9


@torch.no_grad()
def worst_skill(model, loader):
    x, digit, holes, ink = (torch.cat(v) for v in zip(*loader))
    a, b, c = model(x)
    return min((a.argmax(1) == digit).float().mean().item(), (b.argmax(1) == holes).float().mean().item(),
               (1 - F.mse_loss(c, ink) / ink.var()).item())


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(24):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        print(f"epoch {epoch}: last loss {loss.item():.4f}, worst skill {worst_skill(p['model'], p['val_loader']):.4f}")
    print(f"score: {worst_skill(p['model'], p['val_loader']):.4f}")
