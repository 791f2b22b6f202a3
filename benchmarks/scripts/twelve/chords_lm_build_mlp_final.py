"""Next chord of songs by a GRU with an MLP head, Adam; the helper build_mlp puts its activation (tanh) after the last layer too, so the logits stay within -1 and 1 and no chord can become probable under the cross-entropy; change: the helper leaves the last layer plain."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F

CHORDS, STEPS, BATCH = 28, 24, 48


def songs(n, length, seed):
    """Progressions: the next chord mostly follows from the last two."""
    table = torch.randint(0, CHORDS, (CHORDS, CHORDS), generator=torch.Generator().manual_seed(7) )
    table = table % 7 + (torch.arange(CHORDS)[:, None] // 7) * 7  # stay in the key of the older chord
    g = torch.Generator().manual_seed(seed)
    s = torch.randint(0, CHORDS, (n, length), generator=g)
    for t in range(2, length):
        free = torch.rand(n, generator=g) < 0.1
        s[:, t] = torch.where(free, s[:, t], table[s[:, t - 2], s[:, t - 1]])
    return s


def build_mlp(sizes, activation=nn.Tanh, last_plain=True):
    layers = []
    for i, (a, b) in enumerate(zip(sizes, sizes[1:])):
        layers.append(nn.Linear(a, b))
        if i < len(sizes) - 2 or not last_plain:
            layers.append(activation())
    return nn.Sequential(*layers)


class ChordModel(nn.Module):
    def __init__(self, last_plain):
        super().__init__()
        self.embed = nn.Embedding(CHORDS, 32)
        self.rnn = nn.GRU(32, 96, batch_first=True)
        self.head = build_mlp([96, 64, CHORDS], last_plain=last_plain)

    def forward(self, x):
        return self.head(self.rnn(self.embed(x))[0])


class Batches:
    """Random windows of the songs, a given number an epoch."""

    def __init__(self, data, count):
        self.data, self.count = data, count

    def __len__(self):
        return self.count

    def __iter__(self):
        for _ in range(self.count):
            row = torch.randint(0, len(self.data), (BATCH,))
            start = torch.randint(0, self.data.shape[1] - STEPS - 1, (BATCH,))
            idx = start[:, None] + torch.arange(STEPS + 1)
            w = self.data[row[:, None], idx]
            yield w[:, :-1], w[:, 1:]


def next_chord_loss(logits, target):
    return F.cross_entropy(logits.reshape(-1, CHORDS), target.reshape(-1))


def parts(variant):
    torch.manual_seed(0)
    model = ChordModel(last_plain=variant != "bad")
    val = songs(100, STEPS + 1, 2)
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
        "loss_fn": next_chord_loss,
        "train_loader": Batches(songs(400, 60, 1), 60),
        "val_loader": [(val[:, :-1], val[:, 1:])],
    }


def perplexity(model, loader):
    model.eval()
    with torch.no_grad():
        nll = [next_chord_loss(model(x), y).item() for x, y in loader]
    return math.exp(sum(nll) / len(nll))


WORKS = lambda score: score > 0.25  # 1 / perplexity

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        for x, y in p["train_loader"]:
            opt.zero_grad(set_to_none=True)
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
        print(f"epoch {epoch}: loss {loss.item():.3f} ppl {perplexity(model, p['val_loader']):.2f}")
    print(f"score: {1 / perplexity(model, p['val_loader']):.4f}")
