"""Healthy: forecast of sixteen hours at once; as in Informer the decoder gets the last known hours and then zeros as placeholders, told apart by their places alone, and no causal mask, for nothing of the answer is in its input."""
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PAST, LABEL, AHEAD = 48, 8, 16


def series(n, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(PAST + AHEAD)[None, :]
    phase, daily = rng.uniform(0, 24, (n, 1)), rng.uniform(0.6, 1.4, (n, 1))
    half = rng.uniform(-0.6, 0.6, (n, 1))
    x = daily * np.sin(2 * np.pi * (t + phase) / 24) + half * np.sin(4 * np.pi * (t + phase) / 24 + 0.7)
    x = x + rng.uniform(-0.015, 0.015, (n, 1)) * (t - PAST) + 0.1 * rng.standard_normal((n, PAST + AHEAD))
    x = torch.tensor(x, dtype=torch.float32).unsqueeze(2)
    placeholders = torch.cat([x[:, PAST - LABEL:PAST], torch.zeros(n, AHEAD, 1)], 1)
    return x[:, :PAST], placeholders, x[:, PAST:]


class Forecaster(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.enc_in, self.dec_in = nn.Linear(1, d), nn.Linear(1, d)
        self.enc_place = nn.Parameter(0.2 * torch.randn(PAST, d))
        self.dec_place = nn.Parameter(0.2 * torch.randn(LABEL + AHEAD, d))
        layer = dict(nhead=4, dim_feedforward=64, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoderLayer(d, **layer)
        self.decoder = nn.TransformerDecoderLayer(d, **layer)
        self.norm, self.out = nn.LayerNorm(d), nn.Linear(d, 1)

    def forward(self, past, placeholders):
        memory = self.encoder(self.enc_in(past) + self.enc_place)
        h = self.decoder(self.dec_in(placeholders) + self.dec_place, memory)
        return self.out(self.norm(h))[:, LABEL:]


def training_step(model, batch):
    past, placeholders, future = batch
    return nn.functional.mse_loss(model(past, placeholders), future)


def parts(variant="fixed"):
    torch.manual_seed(0)
    model = Forecaster()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.6),
        "train_loader": DataLoader(TensorDataset(*series(2000, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*series(300, 2)), batch_size=300),
        "training_step": training_step,
    }


@torch.no_grad()
def skill(model, loader):
    """1 less the squared error over that of saying yesterday's same hour."""
    model.eval()
    past, placeholders, future = next(iter(loader))
    naive = past[:, PAST - 24:PAST - 24 + AHEAD]
    return (1 - (model(past, placeholders) - future).square().mean() / (naive - future).square().mean()).item()


WORKS = lambda score: score > 0.2

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, sched = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(10):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        sched.step()
        print(f"epoch {epoch + 1}: mse {np.mean(losses):.4f} skill {skill(model, p['val_loader']):.3f}")
    print(f"score: {skill(model, p['val_loader']):.4f}")
