"""GRU that tells what a hedgehog was doing from its night track (steps of 15 to 60 positions, packed). After pad_packed_sequence the last column of the output is taken, which is zero for every track but the longest of the batch, so almost no track reaches the head; the right change: take the state of the last real step, the hidden state h_n that the GRU returns."""
import sys

import numpy as np
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

torch.set_num_threads(1)
ACTIVITIES = {"foraging": 0, "commuting": 1, "circling": 2, "courtship": 3}


def simulate_track(activity, rng):
    n = rng.integers(15, 61)
    heading = rng.uniform(0, 2 * np.pi)
    if activity == 0:
        turns, pace = rng.normal(0, 1.0, n), rng.gamma(2.0, 0.4, n)
    elif activity == 1:
        turns, pace = rng.normal(0, 0.15, n), rng.gamma(9.0, 0.12, n)
    elif activity == 2:
        turns, pace = rng.normal(rng.choice([-0.35, 0.35]), 0.25, n), rng.gamma(6.0, 0.15, n)
    else:
        turns, pace = rng.normal(0, 0.25, n) + np.where(np.arange(n) % 6 == 0, 2.6, 0.0), rng.gamma(6.0, 0.15, n)
    angle = heading + np.cumsum(turns)
    steps = np.stack([pace * np.cos(angle), pace * np.sin(angle)], 1)
    return torch.tensor(steps + rng.normal(0, 0.08, steps.shape), dtype=torch.float32)


def make_tracks(n, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(ACTIVITIES), n)
    return [(simulate_track(a, rng), int(a)) for a in labels]


def collate(items):
    tracks, labels = zip(*items)
    lengths = torch.tensor([len(t) for t in tracks])
    return (pad_sequence(tracks, batch_first=True), lengths), torch.tensor(labels)


class TrackGRU(nn.Module):
    def __init__(self, take="output", hidden=64):
        super().__init__()
        self.take = take
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(hidden, len(ACTIVITIES))

    def forward(self, inputs):
        x, lengths = inputs
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, h_n = self.gru(packed)
        output, _ = pad_packed_sequence(output, batch_first=True)
        summary = output[:, -1] if self.take == "output" else h_n[-1]
        return self.out(self.drop(summary))


def parts(variant, seed=0):
    torch.manual_seed(seed)
    model = TrackGRU(take="output" if variant == "bad" else "hidden")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=4e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(make_tracks(1400, 3), batch_size=32, shuffle=True, collate_fn=collate),
        "val_loader": DataLoader(make_tracks(400, 4), batch_size=64, collate_fn=collate),
    }


WORKS = lambda score: score > 0.85


def evaluate(model, loader):
    model.eval()
    hits = n = 0
    with torch.no_grad():
        for inputs, y in loader:
            hits += (model(inputs).argmax(-1) == y).sum().item()
            n += len(y)
    return hits / n


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad", int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(7):
        model.train()
        losses = []
        for inputs, y in p["train_loader"]:
            loss = p["loss_fn"](model(inputs), y)
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            losses.append(loss.item())
        score = evaluate(model, p["val_loader"])
        print(f"{epoch:3d} train {np.mean(losses):.4f} val acc {score:.3f}")
    print("score:", score)
