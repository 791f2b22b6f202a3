"""No mistake: spectrogram classification on a frozen random conv front end (fixed buffers, no grad), only the head learns, with plain SGD at learning rate 3; change: nothing."""
import sys
import math
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.85     # accuracy on unseen clips, 6 chirp types


def chirps(n, seed, length=1024):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 6, (n,), generator=g)
    t = torch.linspace(0, 1, length)
    f0 = 60 + 30 * torch.rand(n, 1, generator=g)
    ph = 2 * math.pi * torch.rand(n, 1, generator=g)
    sweep = torch.stack([0 * t, 80 * t, 80 * (1 - t), 60 * (2 * t - 1).abs(), 60 * (1 - (2 * t - 1).abs()), 30 * (t > 0.5)])
    f = f0 + sweep[y]
    x = torch.sin(2 * math.pi * f.cumsum(1) / length + ph) + 0.5 * torch.randn(n, length, generator=g)
    return x, y


def log_spec(x):
    s = torch.stft(x, 128, 32, window=torch.hann_window(128), return_complex=True).abs()
    return torch.log1p(s[:, :32])


class RandomFeatures(nn.Module):
    """Untrained filters in front, a linear read-out behind."""

    def __init__(self, n_out=6, c=48):
        super().__init__()
        self.front = nn.Sequential(nn.Conv2d(1, c, 5, stride=2), nn.ReLU(), nn.Conv2d(c, c, 3, stride=2), nn.ReLU())
        for p in self.front.parameters():
            p.requires_grad_(False)
        self.pool = nn.AdaptiveAvgPool2d((7, 5))
        self.norm = nn.LayerNorm(c * 35, elementwise_affine=False)
        self.head = nn.Linear(c * 35, n_out)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        with torch.no_grad():
            h = self.norm(self.pool(self.front(x[:, None])).flatten(1))
        return self.head(h / h.shape[1] ** 0.5)


def parts(variant):
    torch.manual_seed(1)
    xt, yt = chirps(900, 0)
    xv, yv = chirps(300, 1)
    model = RandomFeatures()
    return {"model": model, "optimizer": torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=3.0),
            "train_loader": DataLoader(TensorDataset(log_spec(xt), yt), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(log_spec(xv), yv), batch_size=100),
            "loss_fn": nn.CrossEntropyLoss(),
            "metric": lambda out, y: (out.argmax(1) == y).float().mean().item()}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(25):
        run = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            model.zero_grad()
            loss.backward()
            p["optimizer"].step()
            run += loss.item()
        if epoch % 5 == 4:
            print(f"{epoch + 1} {run / len(p['train_loader']):.4f}")
    with torch.no_grad():
        accs = [p["metric"](model(x), y) for x, y in p["val_loader"]]
    print(f"score: {sum(accs) / len(accs):.4f}")
