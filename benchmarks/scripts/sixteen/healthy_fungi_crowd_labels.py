"""Fungi (six genera) from measured features, labels by volunteers: a quarter are wrong, often for a lookalike; plain MLP with weight decay and dropout, checked on 240 expert labels; the train loss stays high; sound; change: none."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LOOKALIKE = [1, 0, 3, 2, 5, 4]


def specimens(n, seed):
    base = np.random.default_rng(100)
    centre = base.normal(0, 1.0, (6, 9))
    rng = np.random.default_rng(seed)
    y = rng.choice(6, n, p=[0.25, 0.2, 0.2, 0.15, 0.1, 0.1])
    x = centre[y] + rng.normal(0, 0.7, (n, 9))
    x[:, 7] = np.round(x[:, 7])
    x[:, 8] = x[:, 8] > 0
    return x.astype("float32"), y, rng


class FungiNet(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(9, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 6))


def parts(variant):
    torch.manual_seed(0)
    x, y, rng = specimens(3000, 0)
    wrong = rng.random(3000) < 0.25
    guess = np.where(rng.random(3000) < 0.6, np.array(LOOKALIKE)[y], rng.integers(0, 6, 3000))
    volunteer = np.where(wrong, guess, y)
    xe, ye, _ = specimens(240, 1)
    mu, sd = x.mean(0), x.std(0)
    t = lambda a, b: TensorDataset(torch.from_numpy((a - mu) / sd), torch.from_numpy(b))
    model = FungiNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    return dict(model=model, optimizer=optimizer, loss_fn=nn.CrossEntropyLoss(),
                scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=25),
                train_loader=DataLoader(t(x, volunteer), batch_size=100, shuffle=True), val_loader=DataLoader(t(xe, ye), batch_size=80))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion, scheduler = p["model"], p["optimizer"], p["loss_fn"], p["scheduler"]
    for epoch in range(25):
        model.train()
        losses = []
        for features, labels in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(features), labels)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        scheduler.step()
        model.eval()
        with torch.no_grad():
            val = torch.cat([model(f).argmax(1) == l for f, l in p["val_loader"]]).float().mean().item()
        print(f"{epoch + 1:2d}: volunteers' loss {np.mean(losses):.3f}, experts' accuracy {val:.3f}")
    score = val
    print(f"score: {score:.4f}")
