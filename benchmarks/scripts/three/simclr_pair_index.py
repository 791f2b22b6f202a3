"""SimCLR on small patterns; the two views are stacked one after the other, but the positives are indexed as if they were interleaved; change: the fixed twin pairs i with i + N."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def patterns(n, seed):
    g = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 1, 5, 5, generator=g)
    return F.interpolate(coarse, size=16, mode="bilinear", align_corners=False)


def augment(x):
    """random shift, gain, brightness and noise, per picture"""
    n = len(x)
    out = torch.empty_like(x)
    shifts = torch.randint(-1, 2, (n, 2))
    for i in range(n):
        out[i] = torch.roll(x[i], shifts=(int(shifts[i, 0]), int(shifts[i, 1])), dims=(1, 2))
    out = out * (0.5 + torch.rand(n, 1, 1, 1)) + 1.5 * torch.randn(n, 1, 1, 1)
    return out + 0.2 * torch.randn_like(out)


class Encoder(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten())
        self.projector = nn.Sequential(nn.Linear(32 * 16, 96), nn.ReLU(), nn.Linear(96, dim))

    def forward(self, x):
        return F.normalize(self.projector(self.features(x)), dim=1)


def nt_xent(z, positives, temperature=0.2):
    sim = z @ z.t() / temperature
    sim.fill_diagonal_(float("-inf"))
    return F.cross_entropy(sim, positives)


def parts(variant):
    torch.manual_seed(0)
    model = Encoder()

    def training_step(net, batch):
        x = batch[0]
        n = len(x)
        z = net(torch.cat([augment(x), augment(x)], 0))
        if variant == "bad":
            positives = torch.arange(2 * n) ^ 1
        else:
            positives = (torch.arange(2 * n) + n) % (2 * n)
        return nt_xent(z, positives)

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "training_step": training_step,
        "train_loader": DataLoader(TensorDataset(patterns(2048, 1)), batch_size=128, shuffle=True, drop_last=True),
        "val_loader": DataLoader(TensorDataset(patterns(200, 2)), batch_size=200),
    }


WORKS = lambda score: score > 0.5  # how often a view finds the other view of its picture among 200


@torch.no_grad()
def retrieval(model, loader):
    model.eval()
    x = next(iter(loader))[0]
    a, b = model(augment(x)), model(augment(x))
    return ((a @ b.t()).argmax(1) == torch.arange(len(x))).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    print("before", retrieval(model, p["val_loader"]))
    for epoch in range(20):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        acc = retrieval(model, p["val_loader"])
        print(f"epoch {epoch} nt-xent {sum(losses) / len(losses):.4f} retrieval {acc:.3f}")
    print(f"score: {acc:.4f}")
