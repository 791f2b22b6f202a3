"""SimSiam on sensor rows; the gradient also flows through the target branch, so the features collapse to a point; change: the fixed twin detaches the target."""
import sys

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def sensors(n, seed, width=40, causes=10):
    mix = torch.Generator().manual_seed(77)
    a = torch.randn(causes, width, generator=mix)
    b = torch.randn(width, width, generator=mix) / width ** 0.5
    z = torch.randn(n, causes, generator=torch.Generator().manual_seed(seed))
    return torch.tanh(z @ a / 2) @ b * 2


def corrupt(x):
    keep = (torch.rand_like(x) > 0.25).float()
    return x * keep + 0.2 * torch.randn_like(x)


class SimSiam(nn.Module):
    def __init__(self, width=40, dim=32, stop=True):
        super().__init__()
        self.stop = stop
        self.encoder = nn.Sequential(nn.Linear(width, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, dim))
        self.predictor = nn.Sequential(nn.Linear(dim, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, x):
        return self.encoder(x)

    def loss(self, x1, x2):
        z1, z2 = self.encoder(x1), self.encoder(x2)
        p1, p2 = self.predictor(z1), self.predictor(z2)
        if self.stop:
            z1, z2 = z1.detach(), z2.detach()
        return -0.5 * (F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean())


def parts(variant):
    torch.manual_seed(0)
    model = SimSiam(stop=variant != "bad")
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    return {
        "model": model,
        "optimizer": opt,
        "training_step": lambda net, batch: net.loss(corrupt(batch[0]), corrupt(batch[0])),
        "train_loader": DataLoader(TensorDataset(sensors(2000, 1)), batch_size=100, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(sensors(500, 2)), batch_size=500),
    }


WORKS = lambda score: score > 0.5  # spread of the normalised features, times sqrt(dim): 1 spread over the sphere, 0 a point


@torch.no_grad()
def spread(model, loader):
    model.eval()
    x = next(iter(loader))[0]
    z = F.normalize(model(x), dim=1)
    return (z.std(0).mean() * z.shape[1] ** 0.5).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        model.train()
        s = 0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            s += loss.item()
        value = spread(model, p["val_loader"])
        if epoch % 4 == 3:
            print(f"epoch {epoch + 1} loss {s / len(p['train_loader']):.4f} spread {value:.4f}")
    print(f"score: {value:.4f}")
