"""Metric learning with a trunk and an embedder (triplet margin), tested by the nearest neighbour in a gallery read product by product; the mistake (bad): the two nets stay in training mode for the test; change: both are set to eval()."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

PRODUCTS = 10


def photos(per_product, seed, size=16):
    rule, g = torch.Generator().manual_seed(7), torch.Generator().manual_seed(seed)
    base = F.interpolate(torch.randn(PRODUCTS, 3, 4, 4, generator=rule), size=(size, size), mode="bilinear")
    label = torch.arange(PRODUCTS).repeat_interleave(per_product)
    n = len(label)
    gain = 0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=g)
    x = gain * base[label]
    x = torch.stack([torch.roll(im, tuple(torch.randint(-1, 2, (2,), generator=g).tolist()), (1, 2)) for im in x])
    return TensorDataset(x + 0.7 * torch.randn(n, 3, size, size, generator=g), label)


class Trunk(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, c, 3, 2, 1), nn.BatchNorm2d(c), nn.ReLU(),
            nn.Conv2d(c, 2 * c, 3, 2, 1), nn.BatchNorm2d(2 * c), nn.ReLU(), nn.Flatten())

    def forward(self, x):
        return self.layers(x)


def embedder(d_in=48 * 16, d=32):
    return nn.Sequential(nn.Linear(d_in, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, d))


def triplet_loss(emb, label, margin=0.2):
    emb = F.normalize(emb, dim=1)
    dist = 2 - 2 * emb @ emb.t()
    same = label[:, None] == label[None]
    pos = dist.masked_fill(~same, -1).amax(1)
    loss = F.relu(pos[:, None] - dist + margin)
    return loss[~same].mean()


def parts(variant):
    torch.manual_seed(0)
    model = nn.ModuleDict({"trunk": Trunk(), "embedder": embedder()})

    def training_step(model, batch):
        x, label = batch
        return triplet_loss(model["embedder"](model["trunk"](x)), label)

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(photos(80, 1), batch_size=40, shuffle=True, drop_last=True),
            "gallery_loader": DataLoader(photos(20, 2), batch_size=20),
            "val_loader": DataLoader(photos(20, 3), batch_size=20)}


WORKS = lambda score: score > 0.8  # share of queries whose nearest picture in the gallery shows the same product


def embed(model, loader):
    with torch.no_grad():
        out = [(F.normalize(model["embedder"](model["trunk"](x)), dim=1), y) for x, y in loader]
    return torch.cat([e for e, _ in out]), torch.cat([y for _, y in out])


def test(p, variant):
    model = p["model"]
    if variant != "bad":
        model["trunk"].eval()
        model["embedder"].eval()
    gallery, gallery_label = embed(model, p["gallery_loader"])
    query, label = embed(model, p["val_loader"])
    nearest = (query @ gallery.t()).argmax(1)
    return (gallery_label[nearest] == label).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    variant = sys.argv[1] if len(sys.argv) > 1 else "fixed"
    p = parts(variant)
    for epoch in range(8):
        p["model"].train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.4f}")
    print(f"score: {test(p, variant):.4f}")
