"""Transformer encoder (nn.TransformerEncoder, batch_first, pre-norm) that classifies padded logs of railway events by which kind of cause is more frequent. Sound: key padding mask True at padding, mean over real tokens only, warm-up of the learning rate by batch."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
CAUSES = {1: 0, 2: 0, 3: 0, 4: 1, 5: 1, 6: 1, 7: 2, 8: 2, 9: 2}      # weather, staff, track
MAXLEN = 24


def make_log(rng):
    while True:
        seq = rng.integers(1, 16, rng.integers(9, MAXLEN + 1))
        seq = np.where(seq > 12, rng.integers(1, 10, len(seq)), seq)
        counts = np.bincount([CAUSES[c] for c in seq if c in CAUSES], minlength=3)
        top = np.sort(counts)
        if top[2] >= top[1] + 1:
            return seq, int(counts.argmax())


class Logs(Dataset):
    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.x = torch.zeros(n, MAXLEN, dtype=torch.long)
        self.y = torch.zeros(n, dtype=torch.long)
        for i in range(n):
            seq, label = make_log(rng)
            self.x[i, :len(seq)] = torch.from_numpy(seq)
            self.y[i] = label

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class LogEncoder(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.emb = nn.Embedding(16, d, padding_idx=0)
        self.pos = nn.Parameter(torch.randn(1, MAXLEN, d) * 0.02)
        layer = nn.TransformerEncoderLayer(d, 4, 96, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(d), enable_nested_tensor=False)
        self.out = nn.Linear(d, 3)

    def forward(self, x):
        pad = x == 0
        h = self.encoder(self.emb(x) + self.pos, src_key_padding_mask=pad)
        keep = (~pad).unsqueeze(-1).float()
        return self.out((h * keep).sum(1) / keep.sum(1))


def parts(variant):
    torch.manual_seed(0)
    model = LogEncoder()
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    warm = torch.optim.lr_scheduler.LambdaLR(opt, lambda i: min(1.0, (i + 1) / 50))
    criterion = nn.CrossEntropyLoss()

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        warm.step()
        return loss

    return {"model": model, "optimizer": opt, "step": step,
            "train_loader": DataLoader(Logs(4000, 0), batch_size=64, shuffle=True), "val_loader": DataLoader(Logs(600, 1), batch_size=200),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(5):
        model.train()
        losses = [p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]]
        model.eval()
        with torch.no_grad():
            acc = np.mean([p["metric"](model(x), y) for x, y in p["val_loader"]])
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, accuracy {acc:.3f}")
    print("score:", acc)
