"""Spoken symbols with CTC; the labels start at 0, which is also the blank; change: the twin numbers the symbols from 1."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

ALPHABET, FRAMES, BANDS = "abcd", 36, 12


def utterances(n, seed):
    """Frames of a made-up filter bank: every symbol has its own spectrum, pauses between."""
    spectra = torch.randn(len(ALPHABET), BANDS, generator=torch.Generator().manual_seed(77)) * 1.3
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FRAMES, BANDS, generator=g) * 0.5
    texts = []
    for i in range(n):
        k = int(torch.randint(3, 6, (1,), generator=g))
        symbols = torch.randint(0, len(ALPHABET), (k,), generator=g).tolist()
        t = int(torch.randint(0, 3, (1,), generator=g))
        for s in symbols:
            d = int(torch.randint(3, 6, (1,), generator=g))
            x[i, t:t + d] += spectra[s]
            t += d + int(torch.randint(1, 3, (1,), generator=g))
        texts.append("".join(ALPHABET[s] for s in symbols))
    return x, texts


class Codec:
    def __init__(self, first_index):
        self.index = {c: k + first_index for k, c in enumerate(ALPHABET)}
        self.char = {k: c for c, k in self.index.items()}

    def encode(self, texts, width=6):
        out = torch.full((len(texts), width), -1)
        for i, t in enumerate(texts):
            out[i, :len(t)] = torch.tensor([self.index[c] for c in t])
        return out

    def decode(self, path):
        path = torch.unique_consecutive(path).tolist()
        return "".join(self.char.get(k, "") for k in path if k != 0)


class Recognizer(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.rnn = nn.GRU(BANDS, 32, batch_first=True, bidirectional=True)
        self.out = nn.Linear(64, classes)

    def forward(self, x):
        return self.out(self.rnn(x)[0])


def ctc(output, target):
    log_probs = output.log_softmax(-1).transpose(0, 1)
    lengths = (target >= 0).sum(1)
    frames = torch.full((len(target),), output.shape[1])
    return F.ctc_loss(log_probs, target.clamp(min=0), frames, lengths, blank=0)


def parts(variant):
    torch.manual_seed(0)
    codec = Codec(first_index=0 if variant == "bad" else 1)
    (xa, ta), (xb, tb) = utterances(900, 1), utterances(200, 2)
    model = Recognizer(len(ALPHABET) + 1)
    return {"model": model, "loss_fn": ctc, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "train_loader": DataLoader(TensorDataset(xa, codec.encode(ta)), batch_size=30, shuffle=True),
            "val_loader": DataLoader(TensorDataset(xb, codec.encode(tb)), batch_size=200),
            "codec": codec, "val_texts": tb}


WORKS = lambda score: score > 0.6        # share of utterances read without an error


def exact(p):
    p["model"].eval()
    with torch.no_grad():
        paths = torch.cat([p["model"](x).argmax(-1) for x, _ in p["val_loader"]])
    return sum(p["codec"].decode(a) == t for a, t in zip(paths, p["val_texts"])) / len(paths)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(14):
        p["model"].train()
        total = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](p["model"](x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 5.0)
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch}: ctc {total / len(p['train_loader']):.3f} exact {exact(p):.3f}")
    print(f"score: {exact(p):.4f}")
