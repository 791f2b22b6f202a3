"""Activity recognition from (batch, time, channel) windows with a time-first GRU: the axes are exchanged by view, which mixes the examples; change: `fixed` transposes."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

WORKS = lambda score: score > 0.85


class Windows(Dataset):
    """Five activities: rhythm, asymmetry and strength of a movement on three axes."""

    def __init__(self, n, seed, length=50):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 5, (n,), generator=g)
        t = torch.arange(length) / 25
        rate = torch.tensor([0.3, 1.2, 2.2, 3.2, 1.2])[self.y] * (1 + 0.08 * torch.randn(n, generator=g))
        phase = torch.rand(n, generator=g) * 2 * math.pi
        s = torch.sin(2 * math.pi * rate[:, None] * t + phase[:, None])
        second = torch.sin(4 * math.pi * rate[:, None] * t + phase[:, None]) * (self.y == 4).float()[:, None]
        self.x = torch.stack([s, 0.5 * s + second, second - 0.3 * s], 2) + 0.3 * torch.randn(n, length, 3, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class ActivityNet(nn.Module):
    def __init__(self, variant, hidden=48):
        super().__init__()
        self.variant = variant
        self.rnn = nn.GRU(3, hidden, num_layers=1)
        self.norm = nn.LayerNorm(hidden)
        self.fc = nn.Linear(hidden, 5)

    def forward(self, x):
        b, t, c = x.shape
        x = x.transpose(0, 1) if self.variant == "fixed" else x.view(t, b, c)
        out, _ = self.rnn(x)
        return self.fc(self.norm(out.mean(0)))


def parts(variant):
    torch.manual_seed(3)
    model = ActivityNet(variant)
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(Windows(1600, 1), batch_size=64, shuffle=True),
        "val_loader": DataLoader(Windows(384, 2), batch_size=64),
        "loss_fn": nn.CrossEntropyLoss(),
        "metric": lambda o, t: (o.argmax(1) == t).float().mean(),
    }


def main(variant):
    p = parts(variant)
    model = p["model"]
    for epoch in range(12):
        model.train()
        seen, loss_sum = 0, 0.0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            p["optimizer"].step()
            loss_sum += loss.item() * len(y)
            seen += len(y)
        model.eval()
        hits = 0
        with torch.no_grad():
            for x, y in p["val_loader"]:
                hits += (model(x).argmax(1) == y).sum().item()
        print(f"{epoch:3d}  loss {loss_sum / seen:.4f}  val {hits / 384:.4f}")
    print(f"score: {hits / 384:.4f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
