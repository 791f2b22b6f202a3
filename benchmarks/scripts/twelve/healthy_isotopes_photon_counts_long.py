"""Sound though whole numbers of a wide range go into a Linear layer: photon counts of a spectrometer (long integers 0 to some hundreds, really amounts) are cast to float inside the model, which takes a square root (Anscombe) and a batch norm; no embedding belongs there."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CHANNELS, ISOTOPES = 32, 5


def spectra(n, seed):
    fixed = torch.Generator().manual_seed(6)
    lines = torch.rand(ISOTOPES, 3, generator=fixed) * CHANNELS
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, ISOTOPES, (n,), generator=g)
    at = torch.arange(CHANNELS).float()
    peaks = torch.exp(-(at - lines[y].unsqueeze(-1)) ** 2 / 3).sum(1)
    strength = 10 + 60 * torch.rand(n, 1, generator=g)
    rate = strength * peaks + 40 * torch.exp(-at / 12) * (0.5 + torch.rand(n, 1, generator=g))
    return torch.poisson(rate, generator=g).long(), y


class IsotopeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(CHANNELS)
        self.body = nn.Sequential(nn.Linear(CHANNELS, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, ISOTOPES))

    def forward(self, counts):
        return self.body(self.norm(2 * torch.sqrt(counts.float() + 0.375)))


def parts(variant):
    torch.manual_seed(0)
    model = IsotopeNet()
    return {
        "model": model,
        "optimizer": torch.optim.RMSprop(model.parameters(), lr=1e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*spectra(2000, 1)), batch_size=40, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*spectra(500, 2)), batch_size=250),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean().item(),
    }


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts("fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(10):
        model.train()
        for counts, isotope in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(counts), isotope)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: {loss.item():.4f} {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
