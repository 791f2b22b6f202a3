"""Guesses the composer from which of 300 chords occur in a piece. Looks odd, is sound: 30 in 100 of the inputs and 80 in 100 of the 1024 hidden units are dropped on purpose, so the training loss and accuracy are far worse than the ones of validation, where nothing is dropped. There is no mistake and nothing to change; the variant is ignored."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
COMPOSERS, CHORDS = 7, 300


def pieces(n, seed):
    style, rng = np.random.default_rng(88), np.random.default_rng(seed)
    popular = style.normal(-1.6, 1.0, CHORDS)
    habits = style.normal(0, 1.0, (COMPOSERS, CHORDS)) * (style.random((COMPOSERS, CHORDS)) < 0.25)
    who = rng.integers(0, COMPOSERS, n)
    logit = popular + habits[who] + rng.normal(0, 0.5, (n, 1))
    used = rng.random((n, CHORDS)) < 1 / (1 + np.exp(-logit))
    return TensorDataset(torch.tensor(used, dtype=torch.float32), torch.tensor(who))


class WideNet(nn.Module):
    def __init__(self, hidden=1024, drop_in=0.3, drop_hidden=0.8):
        super().__init__()
        self.drop_in = nn.Dropout(drop_in)
        self.wide = nn.Linear(CHORDS, hidden)
        self.drop_hidden = nn.Dropout(drop_hidden)
        self.out = nn.Linear(hidden, COMPOSERS)

    def forward(self, x):
        h = torch.relu(self.wide(self.drop_in(x)))
        return self.out(self.drop_hidden(h))


def parts(variant):
    torch.manual_seed(0)
    net = WideNet()
    return {"model": net,
            "optimizer": torch.optim.Adam(net.parameters(), lr=5e-4),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(pieces(1200, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(pieces(600, 2), batch_size=300),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


class Trainer:
    def __init__(self, p):
        self.__dict__.update(p)

    def train_epoch(self):
        self.model.train()
        losses, accs = [], []
        for x, y in self.train_loader:
            out = self.model(x)
            loss = self.loss_fn(out, y)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            accs.append(self.metric(out, y))
        return np.mean(losses), np.mean(accs)

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        outs = [(self.model(x), y) for x, y in self.val_loader]
        return (np.mean([self.loss_fn(o, y).item() for o, y in outs]), float(np.mean([self.metric(o, y) for o, y in outs])))


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "fixed"))
    for epoch in range(25):
        train_loss, train_acc = trainer.train_epoch()
        val_loss, val_acc = trainer.validate()
        if epoch % 4 == 0:
            print(f"epoch {epoch:2d}: train {train_loss:.3f} / {train_acc:.3f}   val {val_loss:.3f} / {val_acc:.3f}")
    print("score:", val_acc)
