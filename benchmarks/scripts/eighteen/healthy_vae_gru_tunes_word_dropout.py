"""Sound: a VAE with GRUs over little tunes, teacher forcing with a third of the decoder's inputs dropped, and a weight of the divergence that rises from 0 over the first ten epochs, so the loss may rise too. change: nothing."""
import sys
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

NOTES, LENGTH, BLANK = 14, 12, 14


def tunes(n, seed):
    """A tune climbs or falls by fixed steps from a start and turns round half-way or does not."""
    rng = np.random.default_rng(seed)
    start, stride, turn = rng.integers(3, 11, n), rng.choice([-1, 1, 2], n), rng.integers(0, 2, n)
    rows = []
    for s, k, t in zip(start, stride, turn):
        row = [s]
        for i in range(1, LENGTH):
            row.append(row[-1] + (-k if t and i >= 6 else k))
        rows.append(np.array(row) % NOTES)
    return torch.tensor(np.array(rows))


class TuneVAE(nn.Module):
    def __init__(self, emb=24, hidden=64, latent=8):
        super().__init__()
        self.emb = nn.Embedding(NOTES + 1, emb)
        self.encoder = nn.GRU(emb, hidden, batch_first=True, bidirectional=True)
        self.mu, self.logvar = nn.Linear(2 * hidden, latent), nn.Linear(2 * hidden, latent)
        self.to_hidden = nn.Linear(latent, hidden)
        self.decoder = nn.GRU(emb + latent, hidden, batch_first=True)
        self.out = nn.Linear(hidden, NOTES)
        self.drop = 1 / 3

    def encode(self, x):
        _, h = self.encoder(self.emb(x))
        h = torch.cat([h[0], h[1]], 1)
        return self.mu(h), self.logvar(h)

    def decode(self, z, previous, hidden=None):
        hidden = torch.tanh(self.to_hidden(z)).unsqueeze(0) if hidden is None else hidden
        o, hidden = self.decoder(torch.cat([self.emb(previous), z.unsqueeze(1).expand(-1, previous.shape[1], -1)], 2), hidden)
        return self.out(o), hidden

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        previous = torch.cat([torch.full((len(x), 1), BLANK), x[:, :-1]], 1)
        previous = previous.masked_fill(torch.rand(previous.shape) < self.drop, BLANK)
        return self.decode(z, previous)[0], mu, logvar


def parts(variant):
    torch.manual_seed(0)
    model = TuneVAE()
    x, v = tunes(2400, 1), tunes(400, 2)
    steps = [0]
    warm = 10 * len(x) // 48

    def training_step(model, batch):
        x, = batch
        logits, mu, logvar = model(x)
        beta = min(1.0, steps[0] / warm) * 0.5
        steps[0] += 1
        rec = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="sum") / len(x)
        kl = -0.5 * (1 + logvar - mu ** 2 - logvar.exp()).sum(1).mean()
        return rec + beta * kl

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(x), 48, shuffle=True), "val_loader": DataLoader(TensorDataset(v), 400)}


@torch.no_grad()
def replayed(model, loader):
    """Notes right when a tune is written down from its code alone, each note from the ones before."""
    x, = next(iter(loader))
    z, hidden = model.encode(x)[0], None
    note, out = torch.full((len(x), 1), BLANK), []
    for _ in range(LENGTH):
        logits, hidden = model.decode(z, note, hidden)
        note = logits.argmax(2)
        out.append(note)
    return (torch.cat(out, 1) == x).float().mean().item()


WORKS = lambda score: score > 0.7  # share of notes

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(22):
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            nn.utils.clip_grad_norm_(p["model"].parameters(), 5.0)
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.3f}, replayed {replayed(p['model'], p['val_loader']):.3f}")
    print(f"score: {replayed(p['model'], p['val_loader']):.4f}")
