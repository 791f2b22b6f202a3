"""LSTM that files customer complaints under one of four departments; bad sorts the texts of the batch by length for pack_padded_sequence and leaves the labels in the old order; change: the states are put back into the batch's order."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

VOCAB = 200


def complaints(n, seed=4):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        dept = int(rng.integers(4))
        length = int(rng.integers(5, 30))
        words = rng.integers(40, VOCAB, size=length)
        hits = rng.random(length) < 0.3
        hits[rng.integers(length)] = True
        words[hits] = 1 + dept * 9 + rng.integers(0, 9, size=hits.sum())
        rows.append((torch.tensor(words), dept))
    return rows


def collate(rows):
    texts, labels = zip(*rows)
    lengths = torch.tensor([len(t) for t in texts])
    return pad_sequence(texts, batch_first=True), lengths, torch.tensor(labels)


class DepartmentLSTM(nn.Module):
    def __init__(self, restore):
        super().__init__()
        self.restore = restore
        self.embed = nn.Embedding(VOCAB, 32, padding_idx=0)
        self.lstm = nn.LSTM(32, 48, batch_first=True)
        self.fc = nn.Linear(48, 4)

    def forward(self, tokens, lengths):
        lengths, order = lengths.sort(descending=True)
        packed = pack_padded_sequence(self.embed(tokens[order]), lengths, batch_first=True)
        _, (h, _) = self.lstm(packed)
        h = h[-1]
        if self.restore:
            h = h[order.argsort()]
        return self.fc(h)


def training_step(model, batch):
    tokens, lengths, labels = batch
    return nn.functional.cross_entropy(model(tokens, lengths), labels)


def parts(variant):
    torch.manual_seed(0)
    rows = complaints(1500)
    model = DepartmentLSTM(restore=variant != "bad")
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "training_step": training_step,
            "train_loader": DataLoader(rows[:1200], batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(rows[1200:], batch_size=60, collate_fn=collate)}


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        model.eval()
        right = n = 0
        with torch.no_grad():
            for tokens, lengths, labels in p["val_loader"]:
                right += (model(tokens, lengths).argmax(1) == labels).sum().item()
                n += len(labels)
        print(f"epoch {epoch} loss {np.mean(losses):.4f} acc {right / n:.3f}")
    print(f"score: {right / n:.4f}")
