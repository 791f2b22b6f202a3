"""One-dimensional convolutional regression of clay moisture from near-infrared spectra, with a hand-written batch iterator. The mistake: the slices start at i instead of at i * batch_size, so the batches overlap and one epoch sees only the first rows of the table (the same hundred samples, of the first pit alone); the right change: start at i * batch_size."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.set_num_threads(1)
BANDS = 64


def spectra(rng, n, pits):
    """Samples are taken pit after pit; each pit has its own iron, humus and range of moisture."""
    w = np.linspace(0, 1, BANDS)
    X, y = [], []
    for k in range(pits):
        base, iron, slope = rng.uniform(0.3, 0.9), rng.uniform(0, 0.5), rng.uniform(-0.4, 0.4)
        centre = rng.uniform(0.2, 0.8)
        for _ in range(n // pits):
            m = np.clip(centre + 0.12 * rng.standard_normal(), 0, 1)
            s = base + slope * w - iron * np.exp(-((w - 0.15) / 0.08) ** 2)
            s = s - 0.5 * m * np.exp(-((w - 0.45) / 0.04) ** 2) - 0.8 * m * np.exp(-((w - 0.8) / 0.06) ** 2)
            X.append(s + 0.02 * rng.standard_normal(BANDS))
            y.append(m)
    return np.array(X, dtype=np.float32), np.array(y, dtype=np.float32)


class BatchIterator:
    def __init__(self, X, y, batch_size, variant):
        self.X, self.y, self.batch_size = torch.from_numpy(X)[:, None], torch.from_numpy(y), batch_size
        self.variant = variant

    def __len__(self):
        return len(self.X) // self.batch_size

    def __iter__(self):
        for i in torch.randperm(len(self)).tolist():
            start = i if self.variant == "bad" else i * self.batch_size
            yield self.X[start:start + self.batch_size], self.y[start:start + self.batch_size]


class SpectrumNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv1d(1, 16, 7, padding=3)
        self.c2 = nn.Conv1d(16, 16, 5, stride=2, padding=2)
        self.fc1 = nn.Linear(16 * BANDS // 2, 48)
        self.fc2 = nn.Linear(48, 1)

    def forward(self, x):
        x = F.relu(self.c2(F.relu(self.c1(x))))
        return self.fc2(F.relu(self.fc1(x.flatten(1)))).squeeze(1)


def r2(out, y):
    return 1 - ((out - y) ** 2).mean().item() / y.var(unbiased=False).item()


def parts(variant):
    torch.manual_seed(6)
    rng = np.random.default_rng(6)
    X, y = spectra(rng, 2400, 24)
    Xv, yv = spectra(rng, 480, 24)
    mu, sd = X.mean(), X.std()
    net = SpectrumNet()
    return {"model": net, "optimizer": torch.optim.Adam(net.parameters(), lr=1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": BatchIterator((X - mu) / sd, y, 40, variant),
            "val_loader": [(torch.from_numpy((Xv - mu) / sd)[:, None], torch.from_numpy(yv))], "metric": r2}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    scores = []
    for epoch in range(15):
        net.train()
        total = 0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        net.eval()
        xv, yv = p["val_loader"][0]
        with torch.no_grad():
            scores.append(r2(net(xv), yv))
        print(f"epoch {epoch}  train mse {total / len(p['train_loader']):.5f}  val r2 {scores[-1]:.3f}")
    print("score:", np.mean(scores[-3:]))
