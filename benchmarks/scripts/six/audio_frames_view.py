"""Frame-wise sound tagging (convolutions on a spectrogram, then a GRU over the frames); (B, C, F, T) is viewed as (B, T, C*F), which mixes time and frequency; change: permute the time to the front before flattening."""
import argparse

import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

N_MELS, N_FRAMES, N_TAGS = 16, 30, 5
WORKS = lambda score: score > 0.85


class ToySpectrograms(Dataset):
    """Every clip is a chain of segments; a tag is a pair of bands that sound together."""

    def __init__(self, n_clips, seed):
        rng = np.random.RandomState(seed)
        bands = [(1, 6), (1, 11), (6, 13), (3, 11), (3, 13)]
        self.items = []
        for _ in range(n_clips):
            spec = rng.rand(N_MELS, N_FRAMES).astype("float32") * 0.9
            tags = np.zeros(N_FRAMES, dtype="int64")
            t = 0
            while t < N_FRAMES:
                tag, dur = rng.randint(N_TAGS), rng.randint(1, 4)
                for b in bands[tag]:
                    spec[b, t:t + dur] += rng.uniform(0.6, 1.2)
                tags[t:t + dur] = tag
                t += dur
            self.items.append((torch.from_numpy(spec[None]), torch.from_numpy(tags)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class CRNN(nn.Module):
    def __init__(self, channels=8, hidden=24, permute=True):
        super().__init__()
        self.permute = permute
        self.conv = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
        )
        self.rnn = nn.GRU(channels * N_MELS, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, N_TAGS)

    def forward(self, spec):
        z = self.conv(spec)                       # B, C, F, T
        b, c, f, t = z.shape
        if self.permute:
            z = z.permute(0, 3, 1, 2)
        z = z.reshape(b, t, c * f)
        z, _ = self.rnn(z)
        return self.fc(z).transpose(1, 2)         # B, tags, T for the cross entropy


def parts(variant="fixed"):
    torch.manual_seed(0)
    net = CRNN(permute=(variant == "fixed"))
    return dict(
        model=net,
        optimizer=torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=1e-4),
        train_loader=DataLoader(ToySpectrograms(800, 1), 32, shuffle=True),
        val_loader=DataLoader(ToySpectrograms(200, 2), 100),
        loss_fn=nn.CrossEntropyLoss(),
        metric=lambda out, y: (out.argmax(1) == y).float().mean(),
    )


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=8)
    args = ap.parse_args()
    p = parts(args.variant)
    net, opt = p["model"], p["optimizer"]
    for ep in range(args.epochs):
        net.train()
        losses = []
        for spec, tags in p["train_loader"]:
            loss = p["loss_fn"](net(spec), tags)
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            opt.step()
            losses.append(loss.item())
        net.eval()
        with torch.no_grad():
            acc = np.mean([(net(s).argmax(1) == t).float().mean().item() for s, t in p["val_loader"]])
        print("epoch %d  train loss %.3f  val frame accuracy %.3f" % (ep + 1, np.mean(losses), acc))
    print("score:", round(float(acc), 4))
