"""Recall of the marked symbol of a sequence by a hand-written GRU, Adam; the gates' linear layers lie in a namedtuple, which nn.Module does not look into, so only the embedding and the read-out are trained; change: an nn.ModuleDict of the same layers."""
import sys
from collections import namedtuple
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

SYMBOLS, LENGTH = 8, 16
Gates = namedtuple("Gates", "reset keep candidate")


def marked(n, seed):
    g = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, SYMBOLS, (n, LENGTH), generator=g)
    where = torch.randint(0, LENGTH - 6, (n,), generator=g)
    answer = tokens[torch.arange(n), where]
    tokens[torch.arange(n), where] += SYMBOLS              # the marked form of the symbol
    return tokens, answer


class GRUCell(nn.Module):
    def __init__(self, inputs, hidden, registered):
        super().__init__()
        make = lambda: nn.Linear(inputs + hidden, hidden)
        gates = Gates(reset=make(), keep=make(), candidate=make())
        self.gates = nn.ModuleDict(gates._asdict()) if registered else gates
        self.hidden = hidden

    def forward(self, x, h):
        reset, keep, candidate = self.gates.values() if isinstance(self.gates, nn.ModuleDict) else self.gates
        xh = torch.cat([x, h], 1)
        r, z = torch.sigmoid(reset(xh)), torch.sigmoid(keep(xh))
        n = torch.tanh(candidate(torch.cat([x, r * h], 1)))
        return z * h + (1 - z) * n


class Recall(nn.Module):
    def __init__(self, hidden=48, registered=True):
        super().__init__()
        self.embed = nn.Embedding(2 * SYMBOLS, 16)
        self.cell = GRUCell(16, hidden, registered)
        self.read = nn.Linear(hidden, SYMBOLS)

    def forward(self, tokens):
        x = self.embed(tokens)
        h = x.new_zeros(len(x), self.cell.hidden)
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        return self.read(h)


def parts(variant):
    torch.manual_seed(0)
    model = Recall(registered=variant != "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
        "train_loader": DataLoader(TensorDataset(*marked(3000, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*marked(500, 2)), batch_size=250),
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]

    def evaluate():
        model.eval()
        with torch.no_grad():
            scores = [p["metric"](model(x), y) for x, y in p["val_loader"]]
        model.train()
        return sum(scores) / len(scores)

    for epoch in range(15):
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        print(f"epoch {epoch:2d} loss {loss.item():.4f} accuracy {evaluate():.3f}")
    print(f"score: {evaluate():.4f}")
