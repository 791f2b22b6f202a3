"""One net learns digits of one camera, then of another camera with its pixels in another order, without ever seeing the first again, held by elastic weight consolidation; unusual: the data come in order of task, the loss jumps in the middle of the run, and a penalty holds weights near old values."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class CameraStream(Dataset):
    """first camera for the first half of the stream, second camera from then on"""

    def __init__(self, x, y, wiring, per_camera, batch):
        g = torch.Generator().manual_seed(0)
        self.batches = []
        for camera in (0, 1):
            for _ in range(per_camera):
                pick = torch.randint(len(x), (batch,), generator=g)
                self.batches.append((x[pick][:, wiring[camera]], y[pick], camera))

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


class Consolidated(nn.Module):
    def __init__(self, strength=200.0):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 100), nn.ReLU(), nn.Linear(100, 10))
        self.strength = strength
        self.seen, self.camera = [], 0
        self.anchor, self.importance = None, None

    def forward(self, x):
        return self.net(x)

    def consolidate(self):
        """diagonal Fisher information on the last batches of the old camera"""
        params = list(self.net.parameters())
        self.anchor = [p.detach().clone() for p in params]
        self.importance = [torch.zeros_like(p) for p in params]
        n = 0
        for x in self.seen:
            for row in x[:16]:
                logp = F.log_softmax(self.net(row[None]), 1)
                drawn = torch.multinomial(logp.exp().detach()[0], 1).item()
                for f, g in zip(self.importance, torch.autograd.grad(logp[0, drawn], params)):
                    f += g ** 2
                n += 1
        for f in self.importance:
            f /= n

    def penalty(self):
        if self.anchor is None:
            return 0.0
        return sum((f * (p - a) ** 2).sum() for f, p, a in zip(self.importance, self.net.parameters(), self.anchor))


def training_step(model, batch):
    x, y, camera = batch
    if camera != model.camera:
        model.consolidate()
        model.camera = int(camera)
    model.seen = (model.seen + [x])[-20:]
    return F.cross_entropy(model(x), y) + model.strength * model.penalty()


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x, y = torch.tensor(d.data / 16, dtype=torch.float32), torch.tensor(d.target)
    perm = torch.randperm(len(x))
    x, y = x[perm], y[perm]
    wiring = [torch.arange(64), torch.randperm(64)]
    model = Consolidated()
    model.tests = [(x[1300:][:, w], y[1300:]) for w in wiring]
    stream = CameraStream(x[:1300], y[:1300], wiring, per_camera=600, batch=32)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.8),
            "training_step": training_step, "train_loader": DataLoader(stream, batch_size=None)}


# mean accuracy over both cameras at the end
WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for i, batch in enumerate(p["train_loader"], 1):
        opt.zero_grad()
        loss = training_step(model, batch)
        loss.backward()
        opt.step()
        if i % 100 == 0:
            with torch.no_grad():
                accs = [(model(x).argmax(1) == y).float().mean().item() for x, y in model.tests]
            print(f"batch {i} loss {loss.item():.4f} camera 1 {accs[0]:.3f} camera 2 {accs[1]:.3f}")
    print("score:", np.mean(accs))
