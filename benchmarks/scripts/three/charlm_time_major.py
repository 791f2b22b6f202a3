"""Character model, LSTM with time first; the logits (time, batch) are flattened against targets (batch, time); change: the twin transposes the logits before."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

T = 32


def corpus(sentences=1400):
    g = torch.Generator().manual_seed(13)
    pick = lambda words: words[int(torch.randint(0, len(words), (1,), generator=g))]
    who, does, what, where = "anna peter grandmother nobody".split(), "reads writes carries burns".split(), \
        "letters books two-maps bread".split(), ["at home", "in the yard", "by night", "under trees"]
    return "; ".join(f"{pick(who)} {pick(does)} {pick(what)} {pick(where)}" for _ in range(sentences))


def make_data():
    text = corpus()
    chars = sorted(set(text))
    ids = torch.tensor([chars.index(c) for c in text])
    n = (len(ids) - 1) // T
    x, y = ids[:n * T].view(n, T), ids[1:n * T + 1].view(n, T)
    cut = n * 9 // 10
    return chars, TensorDataset(x[:cut], y[:cut]), TensorDataset(x[cut:], y[cut:])


class CharRNN(nn.Module):
    def __init__(self, n_chars, hidden=64):
        super().__init__()
        self.embed = nn.Embedding(n_chars, 24)
        self.lstm = nn.LSTM(24, hidden)
        self.decoder = nn.Linear(hidden, n_chars)

    def forward(self, x):
        out, _ = self.lstm(self.embed(x.t()))
        return self.decoder(out)                   # (time, batch, characters)


def parts(variant):
    torch.manual_seed(0)
    chars, train, val = make_data()
    model = CharRNN(len(chars))

    def loss_fn(output, target):
        if variant != "bad":
            output = output.transpose(0, 1)
        return F.cross_entropy(output.reshape(-1, len(chars)), target.reshape(-1))

    return {"model": model, "loss_fn": loss_fn, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
            "train_loader": DataLoader(train, batch_size=32, shuffle=True),
            "val_loader": DataLoader(val, batch_size=64)}


WORKS = lambda score: score > 0.6        # share of next characters guessed


@torch.no_grad()
def next_char_accuracy(model, loader):
    model.eval()
    hit = [(model(x).argmax(-1) == y.t()).float().mean() for x, y in loader]
    return (sum(hit) / len(hit)).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model = p["model"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            p["optimizer"].step()
            total += loss.item()
        print("| epoch {:2d} | loss {:.3f} | acc {:.3f}".format(epoch, total / len(p["train_loader"]), next_char_accuracy(model, p["val_loader"])))
    print(f"score: {next_char_accuracy(model, p['val_loader']):.4f}")
