"""GRU classifier of motion traces of unequal length, padded with zeros at the end; it reads out[:, -1], which lies far inside the padding, in place of the last real step; the right change: gather the output at length - 1."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset
from torch.nn.utils.rnn import pad_sequence

MAXLEN = 300


class Traces(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            L = int(torch.randint(12, 60, (1,), generator=g))
            label = int(torch.randint(0, 4, (1,), generator=g))
            a = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])[label]
            self.items.append((0.4 * a + 0.8 * torch.randn(L, 2, generator=g), label))

    def __len__(self): return len(self.items)
    def __getitem__(self, i): return self.items[i]


def collate(batch):
    xs, ys = zip(*batch)
    lengths = torch.tensor([len(x) for x in xs])
    xs = [torch.cat([x, torch.zeros(MAXLEN - len(x), 2)]) for x in xs]
    return pad_sequence(xs, batch_first=True), lengths, torch.tensor(ys)


class TraceNet(nn.Module):
    def __init__(self, use_lengths):
        super().__init__()
        self.use_lengths = use_lengths
        self.rnn = nn.GRU(2, 24, batch_first=True)
        self.cls = nn.Linear(24, 4)

    def forward(self, x, lengths):
        out, h = self.rnn(x)
        if self.use_lengths:
            last = out[torch.arange(len(x)), lengths - 1]
        else:
            last = out[:, -1]
        return self.cls(last)


def parts(variant):
    torch.manual_seed(0)
    model = TraceNet(variant == "fixed")
    ce = nn.CrossEntropyLoss()

    def training_step(model, batch):
        x, lengths, y = batch
        return ce(model(x, lengths), y)

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), 2e-3), training_step=training_step,
                train_loader=DataLoader(Traces(640, 1), 32, shuffle=True, collate_fn=collate),
                val_loader=DataLoader(Traces(200, 2), 100, collate_fn=collate))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    m, opt = p["model"], p["optimizer"]
    for ep in range(8):
        tot = 0
        for b in p["train_loader"]:
            opt.zero_grad()
            l = p["training_step"](m, b)
            l.backward()
            opt.step()
            tot += l.item()
        print(ep, tot / len(p["train_loader"]))
    hit = n = 0
    with torch.no_grad():
        for x, L, y in p["val_loader"]:
            hit += (m(x, L).argmax(1) == y).sum().item(); n += len(y)
    print("score:", hit / n)
