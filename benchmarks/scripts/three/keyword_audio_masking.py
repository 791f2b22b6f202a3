"""Spoken keywords from raw audio, 1-d CNN with batch norm; the time masking writes into the stored clips, so each epoch more of them is silent; change: the twin masks a copy."""
import math, sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

KEYWORDS, SAMPLES, RATE = 6, 480, 4000


def record(n, seed):
    g = torch.Generator().manual_seed(seed)
    pitch = torch.tensor([[300., 900.], [300., 600.], [450., 900.], [450., 1300.], [600., 1300.], [750., 450.]])
    y = torch.randint(0, KEYWORDS, (n,), generator=g)
    t = torch.arange(SAMPLES) / RATE
    first = (t < t[-1] / 2).float()
    f = pitch[y] * (1 + 0.03 * torch.randn(n, 2, generator=g))
    phase = torch.rand(n, 2, 1, generator=g) * 2 * math.pi
    tone = torch.sin(2 * math.pi * f.unsqueeze(-1) * t + phase)
    x = tone[:, 0] * (0.4 + 0.6 * first) + tone[:, 1] * (1 - 0.6 * first) + 1.4 * torch.randn(n, SAMPLES, generator=g)
    return x.unsqueeze(1), y


class Clips(Dataset):
    def __init__(self, clips, labels, copy):
        self.clips, self.labels, self.copy = clips, labels, copy

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        clip = self.clips[i]
        if self.copy:
            clip = clip.clone()
        width = 250
        start = int(torch.randint(-width // 2, SAMPLES - width // 2, (1,)))
        clip[:, max(start, 0):start + width] = 0.0
        return clip, self.labels[i]


def conv(a, b, k, s):
    return nn.Sequential(nn.Conv1d(a, b, k, s, bias=False), nn.BatchNorm1d(b), nn.ReLU())


def parts(variant):
    torch.manual_seed(0)
    model = nn.Sequential(conv(1, 16, 25, 4), conv(16, 24, 9, 2), conv(24, 24, 5, 2), nn.AdaptiveAvgPool1d(2),
                          nn.Flatten(), nn.Dropout(0.2), nn.Linear(48, KEYWORDS))
    train = Clips(*record(800, 1), copy=variant != "bad")
    return {"model": model, "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.0015, momentum=0.9, weight_decay=1e-4),
            "train_loader": DataLoader(train, batch_size=40, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*record(300, 2)), batch_size=100),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


WORKS = lambda score: score > 0.7


def run_epoch(p):
    p["model"].train()
    total = correct = seen = 0
    for clip, y in p["train_loader"]:
        out = p["model"](clip)
        loss = p["loss_fn"](out, y)
        p["optimizer"].zero_grad()
        loss.backward()
        p["optimizer"].step()
        total += loss.item() * len(y)
        correct += (out.argmax(1) == y).sum().item()
        seen += len(y)
    return total / seen, correct / seen


def validate(p):
    p["model"].eval()
    with torch.no_grad():
        return sum(p["metric"](p["model"](x), y) for x, y in p["val_loader"]) / len(p["val_loader"])


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(30):
        loss, acc = run_epoch(p)
        if epoch % 2 == 1:
            print(f"epoch {epoch + 1}: loss {loss:.3f} train acc {acc:.3f} val acc {validate(p):.3f}")
    print(f"score: {validate(p):.4f}")
