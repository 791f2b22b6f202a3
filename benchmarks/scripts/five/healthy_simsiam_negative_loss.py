"""SimSiam (stop-gradient, no negatives) on shifted digits, kNN on the frozen encoder; no mistake: the loss is negative and half of each pair is detached; change: nothing."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda s: s > 0.6


def images():
    d = load_digits()
    g = torch.Generator().manual_seed(0)
    out = torch.zeros(len(d.images), 1, 11, 11)
    for i, im in enumerate(torch.tensor(d.images, dtype=torch.float32) / 16):
        r, c = torch.randint(0, 4, (2,), generator=g).tolist()
        out[i, 0, r:r + 8, c:c + 8] = im
    order = torch.randperm(len(out), generator=g)
    return out[order], torch.tensor(d.target)[order]


def augment(x):
    n = len(x)
    theta = torch.zeros(n, 2, 3)
    angle, zoom = 0.3 * torch.randn(n), 1 + 0.15 * torch.randn(n)
    theta[:, 0, 0], theta[:, 0, 1] = zoom * angle.cos(), -zoom * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = zoom * angle.sin(), zoom * angle.cos()
    theta[:, :, 2] = (torch.rand(n, 2) - 0.5) * 0.8
    x = F.grid_sample(x, F.affine_grid(theta, x.shape, align_corners=False), align_corners=False)
    return x * (0.7 + 0.6 * torch.rand(n, 1, 1, 1)) + 0.1 * torch.randn_like(x)


class SimSiam(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.projector = nn.Sequential(nn.Linear(256, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, dim), nn.BatchNorm1d(dim, affine=False))
        self.predictor = nn.Sequential(nn.Linear(dim, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, dim))

    def forward(self, x1, x2):
        z1, z2 = self.projector(self.encoder(x1)), self.projector(self.encoder(x2))
        return self.predictor(z1), self.predictor(z2), z1.detach(), z2.detach()


def training_step(model, batch):
    (x,) = batch
    p1, p2, z1, z2 = model(augment(x), augment(x))
    return -(F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean()) / 2


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, _ = images()
    model = SimSiam()
    return {"model": model,
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.06, momentum=0.9, weight_decay=5e-4),
            "train_loader": DataLoader(TensorDataset(x[:1400]), batch_size=128, shuffle=True, drop_last=True),
            "training_step": training_step}


@torch.no_grad()
def knn_accuracy(model, k=5):
    model.eval()
    x, y = images()
    h = F.normalize(model.encoder(x), dim=1)
    near = (h[1400:] @ h[:1400].t()).topk(k).indices
    model.train()
    return (y[:1400][near].mode(1).values == y[1400:]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print(f"random encoder: {knn_accuracy(model):.3f}")
    for epoch in range(70):
        for batch in p["train_loader"]:
            loss = training_step(model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} loss {loss.item():.4f} kNN {knn_accuracy(model):.3f}", flush=True)
    print(f"score: {knn_accuracy(model):.4f}")
