"""1D CNN that tells bearing faults from vibration windows; StepLR(step_size=3, gamma=0.3), meant in epochs, is stepped after every batch, so the rate is gone within one epoch; the right change: scheduler.step() once an epoch."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def windows(n, seed):
    r = np.random.default_rng(seed)
    t = np.arange(128)
    y = r.integers(0, 5, n)
    period = np.array([23.0, 17.0, 11.0, 8.0, 6.0])[y][:, None]
    ph = r.random((n, 1)) * 23
    x = np.exp(-((t + ph) % period)) * 2 + 0.5 * r.standard_normal((n, 128))
    return TensorDataset(torch.tensor(x, dtype=torch.float32)[:, None], torch.tensor(y))


class FaultNet(nn.Module):
    def __init__(self):
        super().__init__()
        ch = [1, 16, 32, 32]
        self.convs = nn.Sequential(*[nn.Sequential(nn.Conv1d(a, b, 9, padding=4), nn.BatchNorm1d(b), nn.ReLU(), nn.MaxPool1d(2)) for a, b in zip(ch, ch[1:])])
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(self.convs(x).amax(-1))


def parts(variant):
    torch.manual_seed(11)
    model = FaultNet()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=3, gamma=0.3)
    ce = nn.CrossEntropyLoss()

    def step(model, optimizer, batch):
        x, y = batch
        optimizer.zero_grad()
        loss = ce(model(x), y)
        loss.backward()
        optimizer.step()
        if variant == "bad":
            scheduler.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, scheduler=scheduler, step=step,
                train_loader=DataLoader(windows(1500, 0), 32, shuffle=True), val_loader=DataLoader(windows(400, 1), 200))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else "bad"
    p = parts(variant)
    model = p["model"]
    for epoch in range(10):
        model.train()
        ls = [p["step"](model, p["optimizer"], b).item() for b in p["train_loader"]]
        if variant == "fixed":
            p["scheduler"].step()
        print(f"epoch {epoch} loss {np.mean(ls):.3f}")
    model.eval()
    with torch.no_grad():
        acc = np.mean([(model(x).argmax(1) == y).float().mean().item() for x, y in p["val_loader"]])
    print("score:", acc)
