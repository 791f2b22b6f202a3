"""Sound: a transformer decoder that never sees the target: it gets the same learned slots for every bus line and rightly makes all six forecasts at once, without a causal mask. change: nothing."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PAST, SLOTS, WIDTH = 24, 6, 32


def bus_lines(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(PAST + SLOTS)[None] / 1.0
    shift = 12 * torch.rand(n, 1, generator=g)
    size = 0.5 + torch.rand(n, 1, generator=g)
    trend = 0.03 * torch.randn(n, 1, generator=g)
    y = size * torch.cos(2 * torch.pi * (t - shift) / 12) + trend * (t - PAST)
    y = y + 0.05 * torch.randn(y.shape, generator=g)
    return TensorDataset(y[:, :PAST, None], y[:, PAST:])


class SlotForecaster(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(1, WIDTH)
        self.when = nn.Parameter(0.1 * torch.randn(PAST, WIDTH))
        self.slots = nn.Parameter(torch.randn(SLOTS, WIDTH))
        encoder = nn.TransformerEncoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True)
        decoder = nn.TransformerDecoderLayer(WIDTH, 4, 64, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(encoder, 1)
        self.decoder = nn.TransformerDecoder(decoder, 1)
        self.out = nn.Linear(WIDTH, 1)

    def forward(self, past):
        memory = self.encoder(self.inp(past) + self.when)
        slots = self.slots.expand(len(past), SLOTS, WIDTH)
        return self.out(self.decoder(slots, memory)).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = SlotForecaster()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=1e-3), "loss_fn": nn.L1Loss(),
            "train_loader": DataLoader(bus_lines(3000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(bus_lines(400, 2), batch_size=200)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, l1 = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(14):
        model.train()
        total = n = 0
        for past, future in p["train_loader"]:
            loss = l1(model(past), future)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total, n = total + loss.item() * len(past), n + len(past)
        model.eval()
        with torch.no_grad():
            made, real = map(torch.cat, zip(*[(model(past), future) for past, future in p["val_loader"]]))
        score = (1 - (made - real).pow(2).mean() / real.var()).item()
        print(f"epoch {epoch:2d}: l1 {total / n:.4f} R2 {score:.3f}")
    print(f"score: {score:.4f}")
