"""Edible or not, from short notes on mushrooms, embedding and LSTM with an L1 penalty; bad: the penalty 0.01 is on the sum over all thousands of weights and drives them all to zero; change: 1e-6."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

COLOURS = "brown white grey red yellow olive".split()
PARTS = "cap stem gills ring base flesh".split()
TRAITS = "smooth scaly slimy dry warty pale striped bruised".split()
VOCAB = ["<pad>", "not"] + COLOURS + PARTS + TRAITS


def write_notes(n, seed):
    rng = np.random.default_rng(seed)
    x, y = np.zeros((n, 18), dtype=np.int64), np.zeros(n, dtype=np.float32)
    for i in range(n):
        words, danger = [], 0.0
        for part in rng.permutation(PARTS)[:rng.integers(3, 6)]:
            trait, neg = rng.choice(TRAITS), rng.random() < 0.3
            words += (["not"] if neg else []) + [trait, part]
            if trait in ("warty", "pale", "striped", "bruised"):
                danger += -1 if neg else 1
            else:
                danger += 1 if neg else -1
        y[i] = danger + 0.5 * rng.normal() > 0
        ids = [VOCAB.index(w) for w in words]
        x[i, -len(ids):] = ids
    return torch.from_numpy(x), torch.from_numpy(y)


class NoteClassifier(nn.Module):
    def __init__(self, dim=24, hidden=48):
        super().__init__()
        self.embed = nn.Embedding(len(VOCAB), dim, padding_idx=0)
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(self.embed(x))
        return self.fc(out[:, -1]).squeeze(1)


def parts(variant):
    torch.manual_seed(0)
    lambda_l1 = 1e-2 if variant == "bad" else 1e-6
    bce = nn.BCEWithLogitsLoss()

    def training_step(model, batch):
        x, y = batch
        l1 = sum(p.abs().sum() for p in model.parameters())
        return bce(model(x), y) + lambda_l1 * l1

    model = NoteClassifier()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(*write_notes(2400, 1)), batch_size=48, shuffle=True),
                val_loader=DataLoader(TensorDataset(*write_notes(600, 2)), batch_size=300))


# accuracy on new notes
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print("Epoch %d loss %.4f" % (epoch + 1, np.mean(losses)))
    model.eval()
    with torch.no_grad():
        score = np.mean([((model(x) > 0).float() == y).float().mean().item() for x, y in p["val_loader"]])
    print(f"score: {score:.4f}")
