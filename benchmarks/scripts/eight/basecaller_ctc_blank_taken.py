"""Basecalling (signal to ACGT) with a conv net and CTC; the mistake: bases are numbered from 0 and 0 is CTC's blank, so A can't be told from blank; change: `fixed` numbers bases from 1."""
import sys

import torch
import torch.nn as nn

BASES = "ACGT"
LEVEL = torch.tensor([-1.2, -0.4, 0.5, 1.3])
WORKS = lambda score: score > 0.7


def squiggle(n, gen, offset, n_bases=7, frames=60):
    """n noisy signals with their base sequences"""
    seqs = torch.randint(0, 4, (n, n_bases), generator=gen)
    x = torch.zeros(n, 1, frames)
    for i in range(n):
        t = 2
        for b in seqs[i]:
            dwell = int(torch.randint(4, 7, (1,), generator=gen))
            x[i, 0, t:t + dwell] = LEVEL[b] + 2.0
            t += dwell + int(torch.randint(1, 3, (1,), generator=gen))
    x = x + 0.15 * torch.randn(x.shape, generator=gen)
    return x, seqs + offset


def loader(x, y, size):
    return list(zip(x.split(size), y.split(size)))


def collapse(path, offset):
    out, last = [], 0
    for p in path.tolist():
        if p != last and p != 0:
            out.append(BASES[p - offset])
        last = p
    return "".join(out)


class Basecaller(nn.Module):
    def __init__(self, width=40):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(1, width, 7, padding=3), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2), nn.BatchNorm1d(width), nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2), nn.ReLU(),
            nn.Conv1d(width, len(BASES) + 1, 1))

    def forward(self, x):
        return self.net(x).permute(2, 0, 1).log_softmax(-1)       # T, N, C


def parts(variant="fixed"):
    torch.manual_seed(4)
    gen = torch.Generator().manual_seed(4)
    offset = 1 if variant == "fixed" else 0
    ctc = nn.CTCLoss(blank=0, zero_infinity=True)

    def loss_fn(log_probs, targets):
        t, n, _ = log_probs.shape
        return ctc(log_probs, targets, torch.full((n,), t), torch.full((n,), targets.size(1)))

    model = Basecaller()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": loader(*squiggle(2000, gen, offset), 40),
            "val_loader": loader(*squiggle(300, gen, offset), 100), "loss_fn": loss_fn, "offset": offset}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, offset = p["model"], p["optimizer"], p["offset"]
    for epoch in range(14):
        model.train()
        tot = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        print("epoch", epoch, "ctc", round(tot / len(p["train_loader"]), 4))
    model.eval()
    exact, n = 0, 0
    with torch.no_grad():
        for x, y in p["val_loader"]:
            paths = model(x).argmax(-1).t()
            for path, seq in zip(paths, y):
                want = "".join(BASES[b - offset] for b in seq.tolist())
                exact += collapse(path, offset) == want
                n += 1
    print(f"score: {exact / n:.4f}")
