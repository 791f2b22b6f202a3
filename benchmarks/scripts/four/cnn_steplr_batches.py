"""CNN on digits with StepLR of five epochs; the scheduler steps after every batch, so the rate is gone within an epoch; change: it steps after every epoch."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


FONT = ["0e11111111110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]


def glyphs(n, seed):
    """Digits of a 5 x 7 font on 8 x 8 pixels, somewhere, strokes of unequal ink, smeared and speckled."""
    rng = np.random.RandomState(seed)
    y = rng.randint(0, 10, n)
    x = np.zeros((n, 8, 8), dtype=np.float32)
    for i, k in enumerate(y):
        rows = [int(FONT[k][2 * r:2 * r + 2], 16) for r in range(7)]
        bits = np.array([[(b >> (4 - c)) & 1 for c in range(5)] for b in rows], dtype=np.float32)
        dy, dx = rng.randint(0, 2), rng.randint(0, 4)
        x[i, dy:dy + 7, dx:dx + 5] = bits * rng.uniform(0.6, 1.0, bits.shape)
    smear = rng.uniform(0, 0.3, (n, 1, 1)).astype(np.float32)
    x = (1 - smear) * x + smear * np.roll(x, 1, axis=2)
    return np.clip(x + 0.08 * rng.randn(n, 8, 8), 0, 1).astype(np.float32), y.astype(np.int64)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.drop = nn.Dropout(0.25)
        self.fc1 = nn.Linear(128, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = self.drop(torch.flatten(x, 1))
        return self.fc2(F.relu(self.fc1(x)))


def loaders():
    tensors = lambda x, y: TensorDataset(torch.from_numpy(x)[:, None], torch.from_numpy(y))
    return DataLoader(tensors(*glyphs(1350, 20)), batch_size=32, shuffle=True), DataLoader(tensors(*glyphs(450, 21)), batch_size=225)


def parts(variant):
    torch.manual_seed(0)
    net = Net()
    opt = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=5e-4)
    sched = torch.optim.lr_scheduler.StepLR(opt, step_size=5, gamma=0.1)
    per_batch = variant == "bad"

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        if per_batch:
            sched.step()
        return loss

    train, val = loaders()
    return {"model": net, "optimizer": opt, "loss_fn": F.cross_entropy, "step": step, "scheduler": sched, "per_batch": per_batch,
            "train_loader": train, "val_loader": val}


WORKS = lambda score: score > 0.8


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(dim=1) == y).sum().item()
    return correct / len(loader.dataset)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(1, 26):
        p["model"].train()
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](p["model"], batch, p["optimizer"]).item()
        if not p["per_batch"]:
            p["scheduler"].step()
        print(f"Train Epoch: {epoch} Loss: {total / len(p['train_loader']):.6f} Test accuracy: {test(p['model'], p['val_loader']):.4f}")
    print(f"score: {test(p['model'], p['val_loader']):.4f}")
