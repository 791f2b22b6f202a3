"""Tags of the sound events in a log-mel clip (several at once), CNN, SGD, gradients accumulated over 16 small batches; the loss is divided by 16 and the gradients once more before the step, so the rate is a sixteenth of what was tuned; change: divide once."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader, TensorDataset

MELS, FRAMES, ACCUMULATE = 20, 32, 16
EVENTS = ["hum", "siren_up", "siren_down", "click", "rumble", "warble"]


def clips(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.7, (n, MELS, FRAMES))
    y = (rng.random((n, len(EVENTS))) < 0.3).astype(np.float32)
    t = np.arange(FRAMES)
    mel = np.arange(MELS)[:, None]
    for i in range(n):
        for k in np.flatnonzero(y[i]):
            loud, at = rng.uniform(1.2, 2.2), rng.integers(3, MELS - 6)
            if k == 0:
                track = np.full(FRAMES, at)
            elif k == 1:
                track = at - 3 + t * 0.3
            elif k == 2:
                track = at + 5 - t * 0.3
            elif k == 5:
                track = at + 3 * np.sin(t * 0.9 + rng.uniform(0, 6))
            if k == 3:
                x[i, :, rng.choice(FRAMES, 3, replace=False)] += loud
            elif k == 4:
                start = rng.integers(0, FRAMES - 12)
                x[i, :4, start:start + 12] += loud
            else:
                x[i] += loud * np.exp(-0.5 * (mel - track) ** 2)
    x = (x - 0.25) / 0.95
    return torch.tensor(x[:, None], dtype=torch.float32), torch.tensor(y)


class Tagger(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d((1, 2)),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4 * width, len(EVENTS))

    def forward(self, x):
        h = self.conv(x).flatten(2)
        return self.head(torch.cat([h.mean(2), h.amax(2)], 1))


def parts(variant):
    torch.manual_seed(0)
    model = Tagger()
    criterion = nn.BCEWithLogitsLoss()
    seen = {"batches": 0}

    def step(model, batch, optimizer):
        clip, tags = batch
        loss = criterion(model(clip), tags)
        (loss / ACCUMULATE).backward()
        seen["batches"] += 1
        if seen["batches"] % ACCUMULATE == 0:
            if variant == "bad":
                for weight in model.parameters():      # mean over the accumulated batches
                    weight.grad /= ACCUMULATE
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        "train_loader": DataLoader(TensorDataset(*clips(1600, 1)), batch_size=4, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*clips(500, 2)), batch_size=100),
        "loss_fn": criterion,
        "step": step,
    }


WORKS = lambda score: score > 0.85


@torch.no_grad()
def mean_average_precision(model, loader):
    model.eval()
    scores, tags = zip(*[(model(x), y) for x, y in loader])
    return average_precision_score(torch.cat(tags).numpy(), torch.cat(scores).numpy(), average="macro")


def main():
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(6):
        model.train()
        running = 0.0
        for batch in p["train_loader"]:
            running += p["step"](model, batch, optimizer).item()
        print(f"epoch {epoch + 1}: loss {running / len(p['train_loader']):.4f}, mAP {mean_average_precision(model, p['val_loader']):.3f}")
    print(f"score: {mean_average_precision(model, p['val_loader']):.4f}")


if __name__ == "__main__":
    main()
