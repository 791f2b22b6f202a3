"""Sound: CNN that sorts noisy pictures of ceramic marks (ring, cross, bar, wedge, dots), with batch norm, dropout and a StepLR that is stepped once per epoch. change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def marks(n, seed):
    r = np.random.RandomState(seed)
    yy, xx = np.mgrid[:20, :20]
    X, y = r.normal(0, 0.35, (n, 1, 20, 20)), r.randint(0, 5, n)
    for i in range(n):
        cy, cx, s = r.randint(7, 13), r.randint(7, 13), r.randint(4, 7)
        u, v = yy - cy, xx - cx
        inside = (abs(u) <= s) & (abs(v) <= s)
        shape = [abs(np.hypot(u, v) - s) < 1, inside & ((abs(u) < 1) | (abs(v) < 1)), inside & (abs(u) < 2),
                 inside & (abs(u + v) < 2), inside & (u % 3 == 0) & (v % 3 == 0)][y[i]]
        X[i, 0] += shape
    return TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))


def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(inplace=True), nn.MaxPool2d(2))


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(block(1, 16), block(16, 32), nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 25, 64), nn.ReLU(), nn.Linear(64, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "optimizer": optimizer,
            "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, step_size=4, gamma=0.3),
            "train_loader": DataLoader(marks(1500, 0), batch_size=64, shuffle=True),
            "val_loader": DataLoader(marks(400, 1), batch_size=200)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(10):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            acc = np.mean([(net(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]])
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} acc {acc:.4f}")
    print(f"score: {acc:.4f}")
