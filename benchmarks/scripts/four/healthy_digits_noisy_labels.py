"""Healthy: digits of which 40 % have a random label, trained with label smoothing, dropout and cosine decay; training accuracy stays near 0.6, yet validation (clean labels) is good."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.data, dtype=torch.float32) / 16, torch.tensor(d.target)
    g = torch.Generator().manual_seed(8)
    perm = torch.randperm(len(x), generator=g)
    x, y = x[perm], y[perm]
    noisy = torch.where(torch.rand(1400, generator=g) < 0.4, torch.randint(0, 10, (1400,), generator=g), y[:1400])
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=2e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.2),
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=25),
            "train_loader": DataLoader(TensorDataset(x[:1400], noisy), batch_size=35, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(25):
        model.train()
        hit = 0
        for x, y in p["train_loader"]:
            out = model(x)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            hit += (out.argmax(1) == y).sum().item()
        p["scheduler"].step()
        model.eval()
        with torch.no_grad():
            val = [(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]
        val = torch.cat(val).mean().item()
        print(f"epoch {epoch}: loss {loss.item():.3f} train acc {hit / 1400:.3f} val acc {val:.3f}")
    print(f"score: {val:.4f}")
