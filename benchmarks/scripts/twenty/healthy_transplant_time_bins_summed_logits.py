"""Multi-task logistic regression for survival after a transplant: logits summed from the right over time bins, one softmax over all bins, censored rows by logsumexp over the later bins; sound. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BINS = 12


def clinic(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8))
    risk = 0.9 * x[:, 0] - 0.7 * x[:, 1] * (x[:, 2] > 0) + 0.5 * np.abs(x[:, 3])
    t = rng.weibull(1.4, n) * 5 * np.exp(-risk)
    c = rng.exponential(9, n)
    return x, np.minimum(t, c), (t <= c).astype(np.int64)


def concordance(risk, time, event):
    first = (time[:, None] < time[None]) & (event[:, None] == 1)
    return ((risk[:, None] > risk[None]) & first).sum().item() / first.sum().item()


class MTLR(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 48), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(48, 48), nn.SELU(), nn.Linear(48, BINS - 1))

    def forward(self, x):
        phi = nn.functional.pad(self.body(x), (0, 1))
        return phi.flip(1).cumsum(1).flip(1)


def training_step(model, batch):
    x, bin_, event = batch
    logits = model(x)
    log_norm = torch.logsumexp(logits, 1)
    died = logits.gather(1, bin_[:, None]).squeeze(1)
    later = torch.arange(BINS)[None] >= bin_[:, None]
    lived = torch.logsumexp(logits.masked_fill(~later, -1e30), 1)
    return (log_norm - torch.where(event == 1, died, lived)).mean()


def parts(variant):
    torch.manual_seed(0)
    x, t, e = clinic(2600, 4)
    edges = np.quantile(t[:2000][e[:2000] == 1], np.linspace(0, 1, BINS + 1)[1:-1])
    x = torch.tensor(x, dtype=torch.float32)
    b, e, t = torch.tensor(np.searchsorted(edges, t)), torch.tensor(e), torch.tensor(t)
    model = MTLR()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-4), training_step=training_step,
                train_loader=DataLoader(TensorDataset(x[:2000], b[:2000], e[:2000]), 100, shuffle=True),
                val_loader=DataLoader(TensorDataset(x[2000:], b[2000:], e[2000:]), 600), val_time=t[2000:])


WORKS = lambda score: score > 0.72  # concordance on held-out patients

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]

    def c_index():
        model.eval()
        (x, b, e), = p["val_loader"]
        with torch.no_grad():
            survival = 1 - model(x).softmax(1).cumsum(1)
        return concordance(-survival.sum(1), p["val_time"], e)

    print("before", c_index())
    for epoch in range(25):
        model.train(); mean = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            mean += loss.item() / 20
        if epoch % 4 == 0:
            print(f"epoch {epoch} nll {mean:.4f}")
    score = c_index()
    print(f"score: {score:.4f}")
