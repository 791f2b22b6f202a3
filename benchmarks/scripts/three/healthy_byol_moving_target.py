"""Healthy: BYOL on noisy readings; a frozen target net that follows by moving average and a negative loss; nothing to change."""
import copy
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

CLASSES, WIDTH = 12, 48


def readings(n, seed):
    """each class is a curve; every reading has its own offset, gain and noise"""
    shared = torch.Generator().manual_seed(31)
    centre = torch.randn(CLASSES, WIDTH, generator=shared)
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, CLASSES, (n,), generator=g)
    x = centre[y] + 0.5 * torch.randn(n, WIDTH, generator=g)
    return disturb(x, g), y


def disturb(x, g=None):
    n = len(x)
    gain = 0.6 + 0.8 * torch.rand(n, 1, generator=g)
    return x * gain + 2.5 * torch.randn(n, 1, generator=g) + 0.3 * torch.randn(x.shape, generator=g)


def mlp(i, h, o):
    return nn.Sequential(nn.Linear(i, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Linear(h, o))


class BYOL(nn.Module):
    def __init__(self, tau=0.98):
        super().__init__()
        self.tau = tau
        self.online = nn.Sequential(mlp(WIDTH, 128, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
        self.predictor = mlp(32, 64, 32)
        self.target = copy.deepcopy(self.online)
        for q in self.target.parameters():
            q.requires_grad_(False)

    def forward(self, x):
        return F.normalize(self.online(x), dim=1)

    @torch.no_grad()
    def update_target(self):
        for a, b in zip(self.online.parameters(), self.target.parameters()):
            b.mul_(self.tau).add_(a, alpha=1 - self.tau)

    def loss(self, v1, v2):
        with torch.no_grad():
            t1, t2 = self.target(v1), self.target(v2)
        p1, p2 = self.predictor(self.online(v1)), self.predictor(self.online(v2))
        return -(F.cosine_similarity(p1, t2).mean() + F.cosine_similarity(p2, t1).mean())


def parts(variant):
    torch.manual_seed(0)
    model = BYOL()
    trained = [q for q in model.parameters() if q.requires_grad]

    def step(net, batch, optimizer):
        x = batch[0]
        optimizer.zero_grad()
        loss = net.loss(disturb(x), disturb(x))
        loss.backward()
        optimizer.step()
        net.update_target()
        return loss

    return {
        "model": model,
        "optimizer": torch.optim.Adam(trained, lr=2e-3),
        "step": step,
        "train_loader": DataLoader(TensorDataset(*readings(2000, 1)), batch_size=100, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(*readings(400, 2)), batch_size=400),
    }


WORKS = lambda score: score > 0.8  # 1-nearest-neighbour accuracy in the features


@torch.no_grad()
def neighbours(model, loader):
    model.eval()
    x, y = next(iter(loader))
    z = model(x)
    s = (z @ z.t()).fill_diagonal_(-2)
    return (y[s.argmax(1)] == y).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("untrained", neighbours(p["model"], p["val_loader"]))
    for epoch in range(25):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        acc = neighbours(p["model"], p["val_loader"])
        print(f"epoch {epoch} loss {sum(losses) / len(losses):.4f} 1-NN {acc:.4f}")
    print(f"score: {acc:.4f}")
