"""Healthy: character model in the manner of PyTorch's word_language_model: SGD at rate 20 with clipping at 0.25, the hidden state carried on (detached) from batch to batch in order; change: none."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets

BATCH, BPTT = 20, 30
WORKS = lambda score: score > 0.42


def load_text():
    fs = [datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer, datasets.load_diabetes,
          datasets.load_digits, datasets.load_linnerud]
    text = "\n".join(f().DESCR for f in fs).lower()
    return "".join(c for c in text if c in "abcdefghijklmnopqrstuvwxyz .,\n-")


def batchify(ids, bsz):
    n = len(ids) // bsz
    return ids[: n * bsz].view(bsz, n).t().contiguous()


def chunks(data):
    return [(data[i:i + BPTT], data[i + 1:i + 1 + BPTT]) for i in range(0, len(data) - 1 - BPTT, BPTT)]


class RNNModel(nn.Module):
    def __init__(self, vocab, dim=96):
        super().__init__()
        self.encoder = nn.Embedding(vocab, dim)
        self.rnn = nn.LSTM(dim, dim)
        self.decoder = nn.Linear(dim, vocab)
        self.encoder.weight.data.uniform_(-0.1, 0.1)
        self.decoder.bias.data.zero_()
        self.decoder.weight.data.uniform_(-0.1, 0.1)

    def forward(self, x, hidden=None):
        out, hidden = self.rnn(self.encoder(x), hidden)
        return self.decoder(out), hidden


def parts(variant="fixed"):
    torch.manual_seed(25)
    text = load_text()
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    cut = int(0.9 * len(ids))
    model = RNNModel(len(chars))
    memory = {"hidden": None}

    def training_step(model, batch):
        x, y, first = batch
        hidden = None if first else tuple(h.detach() for h in memory["hidden"])
        logits, memory["hidden"] = model(x, hidden)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    def step(model, batch, optimizer):
        optimizer.zero_grad()
        loss = training_step(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        return loss

    train = [(x, y, i == 0) for i, (x, y) in enumerate(chunks(batchify(ids[:cut], BATCH)))]
    val = [(x, y, i == 0) for i, (x, y) in enumerate(chunks(batchify(ids[cut:], 4)))]
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=20.0),
            "train_loader": train, "val_loader": val, "step": step}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(28):
        total = sum(p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"])
        if epoch % 4 == 0:
            print(f"| epoch {epoch} | loss {total / len(p['train_loader']):.3f}")
    hits = n = 0
    hidden = None
    with torch.no_grad():
        for x, y, _ in p["val_loader"]:
            logits, hidden = p["model"](x, hidden)
            hits += (logits.argmax(-1) == y).sum().item()
            n += y.numel()
    print(f"score: {hits / n:.4f}")
