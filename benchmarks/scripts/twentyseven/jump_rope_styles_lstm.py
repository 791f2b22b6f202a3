"""An LSTM tells the style of rope skipping (basic, boxer step, double under, criss-cross, side swing) from a wrist accelerometer. The windows are (batch, time, channels) but nn.LSTM is left at its default batch_first=False and takes the batch for the time; the right change: batch_first=True."""
import math
import sys
from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_num_threads(1)
STYLES = ["basic", "boxer", "double", "criss_cross", "side_swing"]


@dataclass
class Config:
    steps: int = 40
    channels: int = 3
    hidden: int = 48
    epochs: int = 9
    batch_size: int = 40
    lr: float = 5e-3
    rnn_options: tuple = ()


def skipping_window(style, cfg):
    t = torch.arange(cfg.steps) / 25.0
    phase = 2 * math.pi * torch.rand(()).item()
    rate = 2.0 + 0.2 * torch.randn(()).item()
    w = 2 * math.pi * rate * t + phase
    up = torch.sin(w) + 0.3 * torch.sin(2 * w)
    side, forward = 0.2 * torch.sin(w + 0.5), 0.4 * torch.cos(w)
    if style == 1:
        side = torch.sin(w / 2)
    elif style == 2:
        up, forward = 1.2 * up, 0.9 * torch.cos(2 * w)
    elif style == 3:
        side = torch.cos(w)
    elif style == 4:
        forward = torch.sin(w / 2)
    window = torch.stack([up, side, forward], dim=1) * (0.8 + 0.4 * torch.rand(()))
    return window + 0.25 * torch.randn(cfg.steps, cfg.channels)


class SkippingLSTM(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.lstm = nn.LSTM(cfg.channels, cfg.hidden, num_layers=1, **dict(cfg.rnn_options))
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(cfg.hidden, len(STYLES))

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(self.dropout(out[:, -1, :]))


def accuracy(logits, y):
    return (logits.argmax(dim=1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(21)
    cfg = Config() if variant == "bad" else Config(rnn_options=(("batch_first", True),))
    y = torch.randint(0, len(STYLES), (2000,))
    x = torch.stack([skipping_window(s, cfg) for s in y.tolist()])
    train, val = random_split(TensorDataset(x, y), [1600, 400])
    model = SkippingLSTM(cfg)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=cfg.lr),
            "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy, "config": cfg,
            "train_loader": DataLoader(train, batch_size=cfg.batch_size, shuffle=True),
            "val_loader": DataLoader(val, batch_size=cfg.batch_size)}


WORKS = lambda score: score > 0.8


def run(variant):
    p = parts(variant)
    model, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(p["config"].epochs):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            scores = [accuracy(model(x), y) for x, y in p["val_loader"]]
        print(f"epoch {epoch + 1:2d} loss {total / len(p['train_loader']):.3f} val acc {sum(scores) / len(scores):.3f}")
    return sum(scores) / len(scores)


if __name__ == "__main__":
    print("score:", run(sys.argv[1] if len(sys.argv) > 1 else "bad"))
