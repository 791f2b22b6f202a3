"""1-d CNN that tells wave shapes apart (sine, square, saw, triangle), Adam under OneCycleLR; bad: max_lr=0.3, so that the ReLUs die as the rate rises; change: max_lr=0.003."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 8


def make_waves(n, seed):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, 96)
    kind = rng.integers(0, 4, n)
    phase = (rng.uniform(2, 5, (n, 1)) * t + rng.uniform(0, 1, (n, 1))) % 1.0
    shapes = np.stack([np.sin(2 * np.pi * phase), np.sign(phase - 0.5), 2 * phase - 1, 4 * np.abs(phase - 0.5) - 1])
    x = shapes[kind, np.arange(n)] + 0.3 * rng.standard_normal((n, 96))
    return TensorDataset(torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(kind))


class WaveNetSmall(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(1, 16, 7, stride=2, padding=3)
        self.conv2 = nn.Conv1d(16, 32, 5, stride=2, padding=2)
        self.conv3 = nn.Conv1d(32, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 24, 64)
        self.fc2 = nn.Linear(64, 4)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = F.relu(self.conv3(x))
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def parts(variant):
    torch.manual_seed(0)
    train, val = make_waves(1600, 1), make_waves(400, 2)
    train_loader = DataLoader(train, batch_size=32, shuffle=True)
    model = WaveNetSmall()
    optimizer = torch.optim.Adam(model.parameters())
    max_lr = 0.3 if variant == "bad" else 0.003
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=max_lr, total_steps=EPOCHS * len(train_loader) + 1)

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if schedule.last_epoch < schedule.total_steps - 1:
            schedule.step()
        return loss

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": train_loader, "val_loader": DataLoader(val, batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(EPOCHS):
        net.train()
        losses = [p["step"](net, batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"[{epoch + 1}/{EPOCHS}] loss {np.mean(losses):.4f} lr {p['optimizer'].param_groups[0]['lr']:.2e}")
    net.eval()
    hits = 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            hits += (net(x).argmax(1) == y).sum().item()
    score = hits / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
