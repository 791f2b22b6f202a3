"""1-D CNN on star spectra that a sampler reads from a file sorted by class; bad: it shuffles the chunks of 256 rows and the rows in each, but a chunk is of one class, and so is every batch. change: the chunk is the whole file."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

CLASSES = ["O", "B", "A", "F", "G", "K", "M"]


def spectra(per_class, seed):
    rng = np.random.default_rng(seed)
    lam = np.linspace(0, 1, 96)
    x, y = [], []
    for k in range(len(CLASSES)):
        for _ in range(per_class):
            slope = (3 - k) * 0.25 + rng.normal(0, 0.25)
            lines = [(0.2, max(0, 0.8 - abs(k - 2) * 0.3)), (0.45, 0.12 * k), (0.7, 0.5 * (k >= 5)), (0.85, 0.4 * (k <= 1))]
            s = 1 + slope * (lam - 0.5)
            for centre, depth in lines:
                s -= depth * np.exp(-((lam - centre - rng.normal(0, 0.01)) / 0.025) ** 2)
            x.append(s + rng.normal(0, 0.09, len(lam)))
            y.append(k)
    return TensorDataset(torch.tensor(np.array(x), dtype=torch.float32)[:, None], torch.tensor(y))


class ChunkReader(Sampler):
    """Gives batches of row numbers; reads the file in chunks, each epoch in another order."""

    def __init__(self, n_rows, chunk, batch):
        self.n_rows, self.chunk, self.batch = n_rows, chunk, batch

    def __len__(self):
        return self.n_rows // self.batch

    def __iter__(self):
        chunks = list(torch.arange(self.n_rows).split(self.chunk))
        for i in torch.randperm(len(chunks)).tolist():
            rows = chunks[i][torch.randperm(len(chunks[i]))]
            for batch in rows.split(self.batch):
                yield batch.tolist()


def parts(variant):
    torch.manual_seed(0)
    train, val = spectra(256, 1), spectra(60, 2)
    chunk = 256 if variant == "bad" else len(train)
    model = nn.Sequential(
        nn.Conv1d(1, 16, 7, padding=3), nn.BatchNorm1d(16), nn.ReLU(), nn.MaxPool1d(4),
        nn.Conv1d(16, 32, 5, padding=2), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(4),
        nn.Flatten(), nn.Linear(32 * 6, 64), nn.ReLU(), nn.Linear(64, len(CLASSES)))
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(train, batch_sampler=ChunkReader(len(train), chunk, batch=32)),
        "val_loader": DataLoader(val, batch_size=140),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(12):
        net.train()
        losses = []
        for flux, kind in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](net(flux), kind)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            hit = torch.cat([(net(f).argmax(1) == k).float() for f, k in p["val_loader"]])
        score = hit.mean().item()
        print(f"epoch {epoch}: loss {np.mean(losses):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
