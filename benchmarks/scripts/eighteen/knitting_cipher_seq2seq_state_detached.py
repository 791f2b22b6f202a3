"""Seq2seq LSTM that turns rows of a knitting chart into stitch words; the encoder's state is detached before the decoder gets it, so the encoder never learns (bad). change: the state goes to the decoder as it is."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SYMBOLS, LENGTH, SOS = 8, 7, 8


def rows(n, seed):
    """The word of a stitch depends on its symbol and on the symbol before."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, SYMBOLS, (n, LENGTH), generator=g)
    before = torch.cat([torch.zeros(n, 1, dtype=torch.long), x[:, :-1]], 1)
    return TensorDataset(x, (3 * x + (before > 3).long()) % SYMBOLS)


class Encoder(nn.Module):
    def __init__(self, emb, hid):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS, emb)
        self.rnn = nn.LSTM(emb, hid, batch_first=True)

    def forward(self, src):
        _, (h, c) = self.rnn(self.embedding(src))
        return h, c


class Decoder(nn.Module):
    def __init__(self, emb, hid):
        super().__init__()
        self.embedding = nn.Embedding(SYMBOLS + 1, emb)
        self.rnn = nn.LSTM(emb, hid, batch_first=True)
        self.fc_out = nn.Linear(hid, SYMBOLS)

    def forward(self, tok, h, c):
        out, (h, c) = self.rnn(self.embedding(tok), (h, c))
        return self.fc_out(out), h, c


class Seq2Seq(nn.Module):
    def __init__(self, variant, emb=24, hid=128):
        super().__init__()
        self.encoder, self.decoder, self.variant = Encoder(emb, hid), Decoder(emb, hid), variant

    def forward(self, src, trg=None):
        h, c = self.encoder(src)
        if self.variant == "bad":
            h, c = h.detach(), c.detach()
        tok = torch.full((len(src), 1), SOS)
        if trg is not None:  # teacher forcing
            return self.decoder(torch.cat([tok, trg[:, :-1]], 1), h, c)[0]
        out = []
        for _ in range(LENGTH):
            logits, h, c = self.decoder(tok, h, c)
            tok = logits.argmax(-1)
            out.append(tok)
        return torch.cat(out, 1)


criterion = nn.CrossEntropyLoss()


def training_step(model, batch):
    src, trg = batch
    return criterion(model(src, trg).flatten(0, 1), trg.flatten())


def parts(variant):
    torch.manual_seed(0)
    model = Seq2Seq(variant)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "training_step": training_step,
            "train_loader": DataLoader(rows(6000, 1), 100, shuffle=True), "val_loader": DataLoader(rows(500, 2), 500)}


@torch.no_grad()
def accuracy(model, loader):
    src, trg = next(iter(loader))
    return (model(src) == trg).float().mean().item()


WORKS = lambda score: score > 0.9  # stitches right in free running

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(16):
        epoch_loss = 0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            epoch_loss += loss.item()
        print(f"Epoch {epoch + 1:02} loss {epoch_loss / len(p['train_loader']):.3f} accuracy {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
