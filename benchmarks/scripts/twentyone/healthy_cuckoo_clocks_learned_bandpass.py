"""Raw-audio classification of six mechanical clocks by their ring tones: a first layer of learned band-pass sinc filters, log energies, then a small head; AdamW with its own rate for the filter edges."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

RATE, SAMPLES, CLASSES = 4000, 1600, 6
PITCHES = torch.tensor([420.0, 520.0, 640.0, 780.0, 940.0, 1120.0])


def rings(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, CLASSES, (n,), generator=g)
    t = torch.arange(SAMPLES) / RATE
    pitch = PITCHES[y].unsqueeze(1) * (1 + 0.02 * torch.randn(n, 1, generator=g))
    start = torch.rand(n, 1, generator=g) * 0.2
    envelope = torch.exp(-(t - start).clamp_min(0) / 0.08) * (t >= start)
    phase = torch.rand(n, 1, generator=g) * 2 * torch.pi
    wave = envelope * (torch.sin(2 * torch.pi * pitch * t + phase) + 0.4 * torch.sin(2 * torch.pi * 1.6 * pitch * t))
    return wave + 0.4 * torch.randn(n, SAMPLES, generator=g), y


class SincBank(nn.Module):
    def __init__(self, filters=24, taps=101):
        super().__init__()
        edges = torch.linspace(100, 1900, filters + 1)
        self.low = nn.Parameter(edges[:-1].clone() / RATE)
        self.width = nn.Parameter((edges[1:] - edges[:-1]) / RATE)
        self.register_buffer("n", torch.arange(taps) - (taps - 1) / 2)
        self.register_buffer("window", torch.hamming_window(taps, periodic=False))

    def forward(self, x):
        low = self.low.abs().clamp(0.005, 0.49)
        high = (low + self.width.abs() + 0.002).clamp(max=0.495)
        low, high = low.unsqueeze(1), high.unsqueeze(1)
        kernels = (2 * high * torch.sinc(2 * high * self.n) - 2 * low * torch.sinc(2 * low * self.n)) * self.window
        return nn.functional.conv1d(x.unsqueeze(1), kernels.unsqueeze(1), stride=4)


class Clocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.bank = SincBank()
        self.norm = nn.BatchNorm1d(24)
        self.head = nn.Sequential(nn.Conv1d(24, 48, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(48, CLASSES))

    def forward(self, x):
        energy = nn.functional.avg_pool1d(self.bank(x).pow(2), 25, 25)
        return self.head(self.norm(torch.log(energy + 1e-4)))


def parts(variant):
    torch.manual_seed(0)
    model = Clocks()
    bank = list(model.bank.parameters())
    rest = list(model.norm.parameters()) + list(model.head.parameters())
    return {
        "model": model,
        "optimizer": torch.optim.AdamW([{"params": bank, "lr": 5e-4, "weight_decay": 0.0}, {"params": rest, "lr": 2e-3, "weight_decay": 0.01}]),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*rings(1200, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*rings(300, 2)), batch_size=150),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
