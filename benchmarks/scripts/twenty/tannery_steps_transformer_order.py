"""A transformer encoder reads the log of a tannery batch and says whether the liming came before the bating. Mistake: the table of positions is cut with x.size(0) of a batch-first tensor, so every row of the batch gets one position for all its tokens and order is invisible. change: the table is cut with x.size(1) and added along the time axis."""
import math
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

STEPS = 14
LIMING, BATING = 1, 2


class TanneryLogs(Dataset):
    def __init__(self, count, seed):
        rng = np.random.default_rng(seed)
        self.logs = rng.integers(3, 20, (count, STEPS))
        self.first = np.zeros(count, dtype=np.float32)
        for i in range(count):
            a, b = rng.choice(STEPS, 2, replace=False)
            self.logs[i, a], self.logs[i, b] = LIMING, BATING
            self.first[i] = float(a < b)

    def __len__(self):
        return len(self.logs)

    def __getitem__(self, i):
        return torch.as_tensor(self.logs[i]), torch.tensor(self.first[i])


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=512, batch_dim=0):
        super().__init__()
        pos = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, d_model)
        pe[:, 0::2] = torch.sin(pos * div)
        pe[:, 1::2] = torch.cos(pos * div)
        self.register_buffer("pe", pe.unsqueeze(batch_dim))
        self.time_dim = 1 - batch_dim

    def forward(self, x):
        return x + self.pe.narrow(self.time_dim, 0, x.size(self.time_dim))


class StepOrder(nn.Module):
    def __init__(self, batch_dim, d_model=32):
        super().__init__()
        self.d_model = d_model
        self.embed = nn.Embedding(20, d_model)
        self.position = PositionalEncoding(d_model, batch_dim=batch_dim)
        layer = nn.TransformerEncoderLayer(d_model, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.out = nn.Linear(d_model, 1)

    def forward(self, logs):
        x = self.embed(logs) * math.sqrt(self.d_model) * 0.3
        return self.out(self.encoder(self.position(x)).mean(1)).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    model = StepOrder(batch_dim=1 if variant == "bad" else 0)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": nn.BCEWithLogitsLoss(),
            "train_loader": DataLoader(TanneryLogs(4000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TanneryLogs(800, 2), batch_size=64)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(15):
        model.train()
        running = []
        for logs, first in p["train_loader"]:
            loss = loss_fn(model(logs), first)
            opt.zero_grad()
            loss.backward()
            opt.step()
            running.append(loss.item())
        model.eval()
        right = n = 0
        with torch.no_grad():
            for logs, first in p["val_loader"]:
                right += ((model(logs) > 0).float() == first).sum().item()
                n += len(first)
        print(f"epoch {epoch + 1}: loss {np.mean(running):.4f}  val accuracy {right / n:.3f}")
    score = right / n
    print(f"score: {score:.4f}")
