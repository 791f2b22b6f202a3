"""load_digits with residual blocks and squeeze-and-excitation gates, OneCycleLR stepped per batch, label smoothing 0.1; unusual: smoothed loss cannot fall below about 0.5, and the rate rises for a third of the run."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
EPOCHS, BATCH = 10, 48


class SE(nn.Module):
    def __init__(self, c, r=4):
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(c, c // r), nn.ReLU(), nn.Linear(c // r, c), nn.Sigmoid())

    def forward(self, x):
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class ResSE(nn.Module):
    def __init__(self, c_in, c_out, stride=1):
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU(),
                                  nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out), SE(c_out))
        self.skip = nn.Identity() if c_in == c_out and stride == 1 else nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x):
        return torch.relu(self.main(x) + self.skip(x))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x = torch.tensor(d.images / 16.0, dtype=torch.float32).unsqueeze(1)
    x = (x - 0.305) / 0.376
    y = torch.tensor(d.target)
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    x, y = x[perm], y[perm]
    train = DataLoader(TensorDataset(x[:1400], y[:1400]), BATCH, shuffle=True)
    model = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
                          ResSE(16, 16), ResSE(16, 32, 2), ResSE(32, 32), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    return {"model": model, "optimizer": optimizer, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.1),
            "train_loader": train, "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), 200),
            "metric": lambda o, t: (o.argmax(1) == t).float().mean().item()}


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=1e-2, epochs=EPOCHS, steps_per_epoch=len(p["train_loader"]))
    for epoch in range(EPOCHS):
        net.train()
        losses = []
        for xb, yb in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(xb), yb)
            loss.backward()
            opt.step()
            sched.step()
            losses.append(loss.item())
        net.eval()
        ok = 0
        with torch.no_grad():
            for xb, yb in p["val_loader"]:
                ok += (net(xb).argmax(1) == yb).sum().item()
        acc = ok / 397
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f} val acc {acc:.4f}")
    print("score:", acc)
