"""Dates in letters to six digits ("07mar94" to 940307) by a GRU encoder and a GRU decoder with attention and an Adam of each, as in the well-known tutorial; after copying a line the encoder's optimizer is stepped twice and the decoder's never; change: one step of each."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
LETTERS = {c: i for i, c in enumerate("0123456789" + "".join(sorted(set("".join(MONTHS)))))}
START = 10


def dates(n, seed):
    g = torch.Generator().manual_seed(seed)
    d, m, y = (torch.randint(lo, hi, (n,), generator=g).tolist() for lo, hi in ((1, 29), (0, 12), (0, 100)))
    src = [[LETTERS[c] for c in f"{a:02d}{MONTHS[b]}{c:02d}"] for a, b, c in zip(d, m, y)]
    dst = [[int(c) for c in f"{c:02d}{b + 1:02d}{a:02d}"] for a, b, c in zip(d, m, y)]
    return torch.tensor(src), torch.tensor(dst)


class EncoderRNN(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), 32)
        self.gru = nn.GRU(32, hidden, batch_first=True)

    def forward(self, src):
        return self.gru(self.embedding(src))


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(11, 32)
        self.gru = nn.GRU(32, hidden, batch_first=True)
        self.query = nn.Linear(hidden, hidden)
        self.out = nn.Linear(2 * hidden, 10)

    def forward(self, tokens, state, memory):
        h, state = self.gru(self.embedding(tokens), state)
        weights = (self.query(h) @ memory.transpose(1, 2) / memory.shape[-1] ** 0.5).softmax(-1)
        return self.out(torch.cat([h, weights @ memory], -1)), state


def batch_loss(model, batch):
    src, dst = batch
    memory, state = model["encoder"](src)
    tokens = torch.cat([torch.full((len(dst), 1), START), dst[:, :-1]], 1)
    logits, _ = model["decoder"](tokens, state, memory)
    return F.cross_entropy(logits.flatten(0, 1), dst.flatten())


def train_both(model, batch, optimizer):
    encoder_optimizer, decoder_optimizer = optimizer["encoder"], optimizer["decoder"]
    encoder_optimizer.zero_grad()
    decoder_optimizer.zero_grad()
    loss = batch_loss(model, batch)
    loss.backward()
    encoder_optimizer.step()
    decoder_optimizer.step()
    return loss


def train_copied_line(model, batch, optimizer):
    encoder_optimizer, decoder_optimizer = optimizer["encoder"], optimizer["decoder"]
    encoder_optimizer.zero_grad()
    decoder_optimizer.zero_grad()
    loss = batch_loss(model, batch)
    loss.backward()
    encoder_optimizer.step()
    encoder_optimizer.step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    model = {"encoder": EncoderRNN(64), "decoder": AttnDecoderRNN(64)}
    return {
        "model": model,
        "optimizer": {k: torch.optim.Adam(m.parameters(), lr=4e-3) for k, m in model.items()},
        "training_step": batch_loss,
        "step": train_copied_line if variant == "bad" else train_both,
        "train_loader": DataLoader(TensorDataset(*dates(3000, 1)), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*dates(400, 2)), batch_size=200),
    }


@torch.no_grad()
def whole_dates_right(model, loader):
    hits = []
    for src, dst in loader:
        memory, state = model["encoder"](src)
        token, said = torch.full((len(src), 1), START), []
        for _ in range(6):
            logits, state = model["decoder"](token, state, memory)
            token = logits.argmax(-1)
            said.append(token)
        hits.append((torch.cat(said, 1) == dst).all(1).float())
    return torch.cat(hits).mean().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](p["model"], batch, p["optimizer"]).item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}, whole dates {whole_dates_right(p['model'], p['val_loader']):.3f}")
    print(f"score: {whole_dates_right(p['model'], p['val_loader']):.4f}")
