"""A GRU classifies the fault of a card terminal from its log, a sequence of 6 to 80 event codes padded with zeros. The classifier reads the output at the last position, which for most logs lies far in the padding; the right change: take the output at the last real event of each log (out[arange, lengths - 1])."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

torch.set_num_threads(1)
N_CODES, FAULTS, MAX_LEN = 60, 6, 80


def terminal_log(fault, rng):
    length = int(np.clip(rng.lognormal(2.6, 0.7), 6, MAX_LEN))
    codes = rng.integers(20, N_CODES, length)
    signature = np.array([1, 7, 13]) + fault
    where = np.sort(rng.choice(length, 4, replace=False))
    codes[where] = rng.choice(signature, 4)
    if rng.random() < 0.15:
        codes[rng.integers(length)] = rng.integers(1, 20)
    return torch.tensor(codes)


def make_logs(n, seed):
    rng = np.random.default_rng(seed)
    faults = rng.integers(0, FAULTS, n)
    logs = [(terminal_log(f, rng), int(f)) for f in faults]
    logs[0] = (torch.tensor(rng.integers(20, N_CODES, MAX_LEN)), logs[0][1])
    return logs


def collate(items):
    logs = [log for log, _ in items]
    ids = pad_sequence(logs, batch_first=True, padding_value=0)
    ids = nn.functional.pad(ids, (0, MAX_LEN - ids.shape[1]))
    return {"ids": ids, "lengths": torch.tensor([len(log) for log in logs]),
            "fault": torch.tensor([f for _, f in items])}


class FaultGRU(nn.Module):
    def __init__(self, pooling, dim=16, hidden=40):
        super().__init__()
        self.pooling = pooling
        self.embedding = nn.Embedding(N_CODES, dim, padding_idx=0)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.classifier = nn.Linear(hidden, FAULTS)

    def forward(self, ids, lengths):
        out, _ = self.gru(self.embedding(ids))
        if self.pooling == "last":
            summary = out[:, -1]
        else:
            summary = out[torch.arange(len(ids)), lengths - 1]
        return self.classifier(summary)


def training_step(model, batch):
    return nn.functional.cross_entropy(model(batch["ids"], batch["lengths"]), batch["fault"])


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    hits = torch.cat([model(b["ids"], b["lengths"]).argmax(1) == b["fault"] for b in loader])
    model.train()
    return hits.float().mean().item()


def parts(variant):
    torch.manual_seed(4)
    model = FaultGRU("last" if variant == "bad" else "length")
    return {"model": model, "training_step": training_step,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.01),
            "train_loader": DataLoader(make_logs(2000, 1), batch_size=64, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(make_logs(500, 2), batch_size=250, collate_fn=collate)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(5):
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad(set_to_none=True)
            loss.backward()
            p["optimizer"].step()
        print(f"epoch {epoch}: loss {loss.item():.3f}, val {evaluate(p['model'], p['val_loader']):.3f}")
    print("score:", evaluate(p["model"], p["val_loader"]))
