"""Sound: a 1-d CNN recognises sonar echoes that the device stores with two bits (four levels, mostly one of them), so inputs are constant over long stretches and repeat. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def echoes(n, seed):
    r = np.random.RandomState(seed)
    t = np.arange(128)
    X, y = np.zeros((n, 1, 128), np.float32), r.randint(0, 4, n)
    for i in range(n):
        start = r.randint(10, 80)
        u = np.clip((t - start) / 30.0, 0, 1)
        f0, f1 = [(0.12, 0.12), (0.05, 0.25), (0.25, 0.05), (0.3, 0.3)][y[i]]
        wave = np.sin(2 * np.pi * 30 * (f0 * u + (f1 - f0) * u ** 2 / 2)) * ((u > 0) & (u < 1))
        raw = r.uniform(0.7, 1.3) * wave + 0.12 * r.randn(128)
        X[i, 0] = np.digitize(raw, [-0.5, 0.5, 0.9])
    return TensorDataset(torch.tensor(X), torch.tensor(y))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(16, 32, 9, padding=4), nn.ReLU(),
                          nn.MaxPool1d(2), nn.Conv1d(32, 32, 9, padding=4), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-3)
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "optimizer": optimizer,
            "train_loader": DataLoader(echoes(1600, 0), batch_size=32, shuffle=True),
            "val_loader": DataLoader(echoes(400, 1), batch_size=100)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        p["model"].train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["model"].eval()
        with torch.no_grad():
            acc = np.mean([(p["model"](x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} acc {acc:.4f}")
    print(f"score: {acc:.4f}")
