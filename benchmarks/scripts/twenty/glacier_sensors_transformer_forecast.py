"""nn.Transformer forecasts ten steps of three glacier sensors from the last thirty. Mistake: the decoder is given a tensor of zeros as its target sequence, so all ten steps come out the same. change: the decoder is given the true series shifted by one step (and its own forecasts when it is used)."""
import math
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

PAST, AHEAD, SENSORS, WIDTH = 30, 10, 3, 32


def glacier_windows(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(PAST + AHEAD)[None, :, None]
    phase = 2 * math.pi * torch.rand(n, 1, SENSORS, generator=g)
    period = torch.tensor([8.0, 11.0, 14.0])
    level = 0.4 * torch.randn(n, 1, SENSORS, generator=g)
    series = torch.sin(2 * math.pi * t / period + phase) + level
    series = series + 0.05 * torch.randn(series.shape, generator=g)
    return TensorDataset(series[:, :PAST], series[:, PAST:])


class GlacierTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(SENSORS, WIDTH)
        position = torch.zeros(PAST + AHEAD, WIDTH)
        angle = torch.arange(PAST + AHEAD)[:, None] / 100 ** (torch.arange(0, WIDTH, 2) / WIDTH)
        position[:, 0::2], position[:, 1::2] = angle.sin(), angle.cos()
        self.register_buffer("position", position)
        self.transformer = nn.Transformer(WIDTH, 4, 1, 1, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(WIDTH, SENSORS)

    def embed(self, x, start):
        return self.project(x) + self.position[start:start + x.size(1)]

    def forward(self, past, tgt):
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.size(1))
        return self.out(self.transformer(self.embed(past, 0), tgt, tgt_mask=mask))


def parts(variant):
    torch.manual_seed(0)
    model = GlacierTransformer()
    mse = nn.MSELoss()

    def training_step(model, batch):
        past, future = batch
        if variant == "bad":
            tgt = torch.zeros(len(past), AHEAD, WIDTH)
        else:
            tgt = model.embed(torch.cat([past[:, -1:], future[:, :-1]], 1), PAST - 1)
        return mse(model(past, tgt), future)

    @torch.no_grad()
    def forecast(model, past):
        if variant == "bad":
            return model(past, torch.zeros(len(past), AHEAD, WIDTH))
        made = past[:, -1:]
        for _ in range(AHEAD):
            made = torch.cat([made, model(past, model.embed(made, PAST - 1))[:, -1:]], 1)
        return made[:, 1:]

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(glacier_windows(4000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(glacier_windows(500, 2), batch_size=250), "forecast": forecast}


WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        losses = []
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: mse {sum(losses) / len(losses):.4f}")
    model.eval()
    pairs = [(p["forecast"](model, past), future) for past, future in p["val_loader"]]
    made, real = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    score = (1 - (made - real).pow(2).mean() / real.var()).item()
    print(f"score: {score:.4f}")
