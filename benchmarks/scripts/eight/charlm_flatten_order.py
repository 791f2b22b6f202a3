"""Character language model (GRU) on the data set descriptions of scikit-learn; the mistake: logits are (time, batch, vocab) and targets (batch, time) when both get flattened, so they don't belong together; change: `fixed` transposes the targets first."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn import datasets
from torch.utils.data import DataLoader, Dataset

WORKS = lambda score: score > 0.3


def corpus():
    loaders = [datasets.load_iris, datasets.load_wine, datasets.load_breast_cancer,
               datasets.load_diabetes, datasets.load_digits, datasets.load_linnerud]
    text = "\n".join(f().DESCR for f in loaders).lower()
    keep = set("abcdefghijklmnopqrstuvwxyz .,\n-:()")
    return " ".join("".join(c for c in text if c in keep).split(" "))


class CharDataset(Dataset):
    def __init__(self, ids, block):
        self.ids, self.block = ids, block

    def __len__(self):
        return (len(self.ids) - 1) // self.block * 3

    def __getitem__(self, i):
        s = i * self.block // 3
        s = min(s, len(self.ids) - self.block - 1)
        return self.ids[s:s + self.block], self.ids[s + 1:s + self.block + 1]


class CharGRU(nn.Module):
    def __init__(self, vocab, emb=32, hidden=128):
        super().__init__()
        self.vocab = vocab
        self.emb = nn.Embedding(vocab, emb)
        self.gru = nn.GRU(emb, hidden)
        self.head = nn.Linear(hidden, vocab)

    def forward(self, x):
        h, _ = self.gru(self.emb(x.t()))      # time first, as nn.GRU wants it
        return self.head(h)


def parts(variant="fixed", lr=4e-3, batch_size=32, block=48):
    torch.manual_seed(2)
    text = corpus()
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    cut = int(0.9 * len(ids))
    model = CharGRU(len(chars))

    def loss_fn(logits, targets):
        if variant == "fixed":
            targets = targets.t()
        return F.cross_entropy(logits.reshape(-1, logits.size(-1)), targets.reshape(-1))

    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=lr),
        "train_loader": DataLoader(CharDataset(ids[:cut], block), batch_size, shuffle=True, drop_last=True),
        "val_loader": DataLoader(CharDataset(ids[cut:], block), batch_size),
        "loss_fn": loss_fn,
    }


@torch.no_grad()
def next_char_accuracy(model, loader):
    model.eval()
    hits = n = 0
    for x, y in loader:
        pred = model(x).argmax(-1)            # time, batch
        hits += (pred.t() == y).sum().item()
        n += y.numel()
    return hits / n


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=12)
    args = ap.parse_args()
    p = parts(args.variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(args.epochs):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            optimizer.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}  bits/char {sum(losses) / len(losses) / 0.6931:.3f}")
    print(f"score: {next_char_accuracy(model, p['val_loader']):.4f}")
