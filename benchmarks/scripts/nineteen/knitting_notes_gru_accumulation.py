"""Character model of knitting instructions, a GRU with gradient accumulation; bad: it steps every 32 batches but an epoch has only 24, and the gradients are cleared when an epoch begins, so no step is ever taken; change: accumulate over 4 batches."""
import sys
import random
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CHARS = "abcdefghijklmnopqrstuvwxyz ,0123456789."
BLOCK = 40


def notes(n):
    rnd = random.Random(3)
    out = []
    for _ in range(n):
        a, b = rnd.randint(2, 9), rnd.randint(1, 9)
        out.append(rnd.choice([f"knit {a}, purl {b}, repeat to end. ", f"cast on {a}{b} stitches. ", f"slip {b}, knit to last {b}. ",
                               f"purl one row. ", f"work {a} rows in rib. ", f"bind off {b} at neck edge. "]))
    return "".join(out)


class CharGRU(nn.Module):
    def __init__(self, vocab, dim=32, hidden=96):
        super().__init__()
        self.table = nn.Embedding(vocab, dim)
        self.gru = nn.GRU(dim, hidden, batch_first=True)
        self.decoder = nn.Linear(hidden, vocab)

    def forward(self, ids):
        out, _ = self.gru(self.table(ids))
        return self.decoder(out)


def parts(variant):
    torch.manual_seed(0)
    ids = torch.tensor([CHARS.index(c) for c in notes(2400)])
    rows = ids[:len(ids) // (BLOCK + 1) * (BLOCK + 1)].view(-1, BLOCK + 1)
    x, y = rows[:, :-1], rows[:, 1:]
    model = CharGRU(len(CHARS))
    every = 32 if variant == "bad" else 4
    criterion = nn.CrossEntropyLoss()
    count = {"i": 0}
    train = DataLoader(TensorDataset(x[:768], y[:768]), batch_size=32, shuffle=True)

    def step(model, batch, optimizer):
        if count["i"] % len(train) == 0:
            count["i"] = 0
            optimizer.zero_grad()
        inputs, targets = batch
        loss = criterion(model(inputs).flatten(0, 1), targets.flatten())
        (loss / every).backward()
        count["i"] += 1
        if count["i"] % every == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-2), step=step, train_loader=train,
                val_loader=DataLoader(TensorDataset(x[768:], y[768:]), batch_size=64))


# next-character accuracy on held-out text
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1} loss {sum(losses) / len(losses):.4f}")
    with torch.no_grad():
        hits = torch.cat([(p["model"](x).argmax(-1) == y).flatten() for x, y in p["val_loader"]])
    score = hits.float().mean().item()
    print(f"score: {score:.4f}")
