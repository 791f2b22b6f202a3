"""Autoencoder plus grade classifier for tea leaves, both losses together, under Adadelta with learning rate 1.0; sound."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def leaves(n, seed):
    patterns = F.interpolate(torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(61)), size=20, mode="bicubic")
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 6, (n,), generator=g)
    x = torch.sigmoid(patterns[y] * (0.8 + 0.4 * torch.rand(n, 1, 1, 1, generator=g)) + 0.6 * torch.randn(n, 1, 1, 1, generator=g))
    return TensorDataset((x + 0.12 * torch.randn(n, 1, 20, 20, generator=g)).clamp(0, 1), y)


class LeafModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Conv2d(16, 24, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(600, 20))
        self.dec = nn.Sequential(nn.Linear(20, 600), nn.ReLU(), nn.Unflatten(1, (24, 5, 5)),
                                 nn.ConvTranspose2d(24, 16, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid())
        self.grade = nn.Linear(20, 6)

    def forward(self, x):
        z = self.enc(x)
        return self.dec(z), self.grade(z)


def training_step(model, batch):
    x, y = batch
    recon, grade = model(x)
    return F.binary_cross_entropy(recon, x) + F.cross_entropy(grade, y)


def parts(variant):
    torch.manual_seed(0)
    model = LeafModel()
    return {"model": model, "optimizer": torch.optim.Adadelta(model.parameters(), lr=1.0), "training_step": training_step,
            "train_loader": DataLoader(leaves(1500, 1), batch_size=32, shuffle=True),
            "val_loader": DataLoader(leaves(300, 2), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(8):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        acc = torch.cat([(model(x)[1].argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
    print(f"score: {acc:.4f}")
