"""Small 1-D convolutional net that names the type of a cold-room compressor by a quarter second of its hum; the validation recordings are listed machine after machine. The hand-written norm layer passes training=True to F.batch_norm, so in evaluation the statistics of the batch (one machine) take the place of the running ones, and validation is far below training; the right change: training=self.training."""
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
TYPES = {"piston": (50, 0.9, 0.5), "scroll": (58, 0.5, 0.6), "screw": (66, 0.3, 0.9), "rotary": (50, 0.4, 0.25),
         "swing": (58, 0.9, 0.2)}
RATE = 1024


class Hums(Dataset):
    def __init__(self, per_type, seed):
        rng = np.random.default_rng(seed)
        t = np.arange(256) / RATE
        waves, labels = [], []
        for k, (f0, second, loudness) in enumerate(TYPES.values()):
            for _ in range(per_type):
                f = f0 + rng.normal(0, 1.2)
                a, b = rng.uniform(0, 2 * np.pi, 2)
                w = np.sin(2 * np.pi * f * t + a) + second * np.sin(4 * np.pi * f * t + b)
                w = loudness * rng.uniform(0.85, 1.15) * w + rng.normal(0, 0.12, 256)
                waves.append(w)
                labels.append(k)
        self.waves = torch.tensor(np.array(waves), dtype=torch.float32)[:, None]
        self.labels = torch.tensor(labels)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.waves[i], self.labels[i]


class ChannelNorm(nn.Module):
    def __init__(self, channels, always=False, momentum=0.1):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.always, self.momentum = always, momentum

    def forward(self, x):
        training = True if self.always else self.training
        return F.batch_norm(x, self.mean, self.var, self.gain, self.shift, training=training, momentum=self.momentum)


class HumNet(nn.Module):
    def __init__(self, always):
        super().__init__()
        chans = [1, 16, 24, 32]
        self.convs = nn.ModuleList(nn.Conv1d(a, b, 9, stride=2, padding=4) for a, b in zip(chans, chans[1:]))
        self.norms = nn.ModuleList(ChannelNorm(c, always) for c in chans[1:])
        self.fc = nn.Linear(32, len(TYPES))

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
        return self.fc(x.mean(2))


def accuracy(logits, y):
    return (logits.argmax(1) == y).float().mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = HumNet(always=variant == "bad")
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(), "metric": accuracy,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(Hums(320, 5), batch_size=32, shuffle=True),
            "val_loader": DataLoader(Hums(64, 6), batch_size=16)}


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        net.train()
        accs = []
        for wave, kind in p["train_loader"]:
            opt.zero_grad()
            logits = net(wave)
            p["loss_fn"](logits, kind).backward()
            opt.step()
            accs.append(p["metric"](logits, kind))
        net.eval()
        with torch.no_grad():
            val = float(np.mean([p["metric"](net(w), k) for w, k in p["val_loader"]]))
        print("epoch", epoch, "train", round(float(np.mean(accs)), 3), "val", round(val, 3))
    print("score:", val)
