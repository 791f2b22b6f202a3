"""Healthy: contrastive pretraining on machine hum, two views of every recording, the other recordings of the batch are the negatives (some are of the same
machine), a learned temperature; the labels are unused, the projection is thrown away, and a linear probe on the features is judged. Nothing to change."""
import sys
import math
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

KINDS, T = 8, 128


def hums(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, KINDS, (n,), generator=g)
    t = torch.arange(T) / T
    f = 3 + 2.0 * y[:, None]
    overtone = 1 + y[:, None] % 3
    phase = 2 * math.pi * torch.rand(n, 1, generator=g)
    x = torch.sin(2 * math.pi * f * t + phase) + 0.6 * torch.sin(2 * math.pi * f * (1 + overtone) * t + phase)
    return TensorDataset((x + 0.7 * torch.randn(n, T, generator=g))[:, None], y)


def view(x):
    shift = int(torch.randint(0, T, (1,)))
    x = torch.roll(x, shift, dims=-1)
    x = x * (0.6 + 0.8 * torch.rand(len(x), 1, 1)) * torch.sign(torch.randn(len(x), 1, 1))
    return x + 0.2 * torch.randn_like(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(1, 24, 9, stride=2, padding=4), nn.BatchNorm1d(24), nn.ReLU(),
            nn.Conv1d(24, 48, 9, stride=2, padding=4), nn.BatchNorm1d(48), nn.ReLU(),
            nn.Conv1d(48, 48, 5, stride=2, padding=2), nn.BatchNorm1d(48), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.projector = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 24))
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(self, x):
        return F.normalize(self.projector(self.features(x)), dim=1)


def parts(variant):
    torch.manual_seed(0)
    model = Encoder()

    def step(model, batch, optimizer):
        x, _ = batch
        z = model(torch.cat([view(x), view(x)]))
        sim = z @ z.T * model.log_scale.clamp(max=math.log(30.0)).exp()
        sim.fill_diagonal_(float("-inf"))
        n = len(x)
        partner = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
        loss = F.cross_entropy(sim, partner)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-4), step=step,
                train_loader=DataLoader(hums(2000, 1), 100, shuffle=True, drop_last=True), val_loader=DataLoader(hums(800, 2), 200))


def probe(model, known, asked):
    from sklearn.linear_model import LogisticRegression
    model.eval()
    with torch.no_grad():
        a, b = ([(model.features(x), y) for x, y in loader] for loader in (known, asked))
    (xa, ya), (xb, yb) = ((torch.cat([f for f, _ in s]).numpy(), torch.cat([y for _, y in s]).numpy()) for s in (a, b))
    return LogisticRegression(max_iter=2000).fit(xa, ya).score(xb, yb)


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        losses = [p["step"](model, batch, p["optimizer"]) for batch in p["train_loader"]]
        print(f"epoch {epoch}: {sum(losses) / len(losses):.4f}")
    score = probe(model, DataLoader(hums(200, 3), 200), p["val_loader"])
    print(f"score: {score:.4f}")
