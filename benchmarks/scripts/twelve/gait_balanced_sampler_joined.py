"""Which of six things does a wearer do, from 40 samples of an accelerometer, by a CNN with batch norm and AdamW; the sampler that evens out the activities draws as many windows of each and joins the draws one activity after the other, so that batches hold one activity; change: the joined draws are permuted."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

WINDOW, BATCH, KINDS = 40, 64, 6


def recording(segments, seed, per=120):
    """A log of windows in order of time; each activity lasts for 120 windows."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(WINDOW).float()
    xs, ys = [], []
    for i in range(segments):
        k = i % KINDS if i < KINDS else int(torch.randint(0, KINDS, (1,), generator=g))
        freq = [0.06, 0.10, 0.10, 0.16, 0.06, 0.16][k] * (0.9 + 0.2 * torch.rand(per, 1, generator=g))
        phase = 6.28 * torch.rand(per, 1, generator=g)
        a = torch.sin(6.28 * freq * t + phase)
        second = [0.0, 0.0, 1.0, 0.0, 1.0, 1.0][k]
        b = torch.sin(2 * 6.28 * freq * t + phase) * second + torch.cos(6.28 * freq * t + phase) * (1 - second)
        amp = 0.7 + 0.6 * torch.rand(per, 1, 1, generator=g)
        xs.append(amp * torch.stack([a, b], 1) + 0.6 * torch.randn(per, 2, WINDOW, generator=g))
        ys.append(torch.full((per,), k))
    return torch.cat(xs), torch.cat(ys)


class GaitNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(2, 24, 7, padding=3, bias=False), nn.BatchNorm1d(24), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(24, 32, 5, padding=2, bias=False), nn.BatchNorm1d(32), nn.ReLU(), nn.MaxPool1d(2),
            nn.Flatten(), nn.Linear(320, 48, bias=False), nn.BatchNorm1d(48), nn.ReLU())
        self.head = nn.Linear(48, KINDS)

    def forward(self, x):
        return self.head(self.features(x))


class ClassBalancedSampler(Sampler):
    """As many windows of each activity as `per_class`, drawn anew for each epoch."""

    def __init__(self, labels, per_class, mix):
        self.by_class = [torch.nonzero(labels == k)[:, 0] for k in range(KINDS)]
        self.per_class, self.mix = per_class, mix

    def __len__(self):
        return self.per_class * KINDS

    def __iter__(self):
        drawn = torch.cat([c[torch.randint(0, len(c), (self.per_class,))] for c in self.by_class])
        if self.mix:
            drawn = drawn[torch.randperm(len(drawn))]
        return iter(drawn.tolist())


def parts(variant):
    torch.manual_seed(0)
    x, y = recording(36, 1)
    xv, yv = recording(12, 2)
    mean, std = x.mean((0, 2), keepdim=True), x.std((0, 2), keepdim=True)
    model = GaitNet()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset((x - mean) / std, y), batch_size=BATCH, sampler=ClassBalancedSampler(y, 640, mix=variant != "bad")),
        "val_loader": DataLoader(TensorDataset((xv - mean) / std, yv), batch_size=240),
    }


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).float().mean().item() for x, y in loader) / len(loader)


WORKS = lambda score: score > 0.85


def run(variant, epochs=8):
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(epochs):
        model.train()
        losses = []
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, held-out {accuracy(model, p['val_loader']):.3f}")
    return accuracy(model, p["val_loader"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(f"score: {run(sys.argv[1] if len(sys.argv) > 1 else 'fixed'):.4f}")
