"""SimCLR on shifted, shaded digits, judged by kNN on the frozen encoder; mistake: the augmentation makes a freshly seeded generator at every call, so both views of an image are the same picture; change: one generator that goes on."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

TEMPERATURE = 0.3
WORKS = lambda score: score > 0.6


def canvases(seed=3):
    d = load_digits()
    g = torch.Generator().manual_seed(seed)
    imgs = torch.tensor(d.images, dtype=torch.float32) / 16
    out = torch.zeros(len(imgs), 1, 12, 12)
    for i, im in enumerate(imgs):
        r, c = torch.randint(0, 5, (2,), generator=g).tolist()
        out[i, 0, r:r + 8, c:c + 8] = im
    slope = torch.randn(len(imgs), 2, generator=g)
    ramp = torch.linspace(-1, 1, 12)
    shade = slope[:, :1, None] * ramp[None, :, None] + slope[:, 1:, None] * ramp[None, None, :]
    out = out + 0.2 * shade[:, None]
    perm = torch.randperm(len(imgs), generator=g)
    return out[perm], torch.tensor(d.target)[perm]


class Augment:
    """Random shift, contrast, shading and pixel noise."""

    def __init__(self, seed, reseed):
        self.seed, self.reseed = seed, reseed
        self.gen = torch.Generator().manual_seed(seed)
        self.ramp = torch.linspace(-1, 1, 12)

    def __call__(self, x):
        g = torch.Generator().manual_seed(self.seed) if self.reseed else self.gen
        n = len(x)
        shift = torch.randint(-3, 4, (n, 2), generator=g)
        rows = (torch.arange(12)[None] + shift[:, :1]) % 12
        cols = (torch.arange(12)[None] + shift[:, 1:]) % 12
        b = torch.arange(n)[:, None, None]
        x = x[b, 0, rows[:, :, None], cols[:, None, :]].unsqueeze(1)
        x = x * (0.6 + 0.8 * torch.rand(n, 1, 1, 1, generator=g))
        slope = 0.2 * torch.randn(n, 2, 1, generator=g)
        x = x + (slope[:, 0, :, None] * self.ramp[None, :, None] + slope[:, 1, :, None] * self.ramp[None, None])[:, None]
        return x + 0.1 * torch.randn(x.shape, generator=g)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 64))
        self.projector = nn.Sequential(nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        return self.projector(self.body(x))


def nt_xent(z1, z2):
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    sim = z @ z.t() / TEMPERATURE
    sim.fill_diagonal_(-1e9)
    n = len(z1)
    return F.cross_entropy(sim, torch.cat([torch.arange(n) + n, torch.arange(n)]))


def parts(variant="fixed"):
    torch.manual_seed(0)
    x, y = canvases()
    augment = Augment(seed=11, reseed=variant == "bad")
    model = Encoder()

    def training_step(model, batch):
        images = batch[0]
        return nt_xent(model(augment(images)), model(augment(images)))

    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4),
            "train_loader": DataLoader(TensorDataset(x[:1400]), batch_size=128, shuffle=True, drop_last=True),
            "training_step": training_step}


@torch.no_grad()
def knn(model, k=5):
    model.eval()
    x, y = canvases()
    h = F.normalize(model.body(x), dim=1)
    votes = y[:1400][(h[1400:] @ h[:1400].t()).topk(k, 1).indices]
    return (votes.mode(1).values == y[1400:]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print(f"untrained kNN {knn(model):.3f}")
    for epoch in range(60):
        model.train()
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1}: NT-Xent {loss.item():.3f}, kNN {knn(model):.3f}")
    print(f"score: {knn(model):.4f}")
