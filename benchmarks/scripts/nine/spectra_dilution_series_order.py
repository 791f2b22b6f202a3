"""Concentration of a solute from its absorption spectrum, an MLP with batch norm; mistake: the laboratory's file goes up the dilution series from weak to strong and the hand-made batch iterator walks it in that order (shuffle defaults to False), so a batch has one concentration; change: shuffle=True."""
import sys
import torch
import torch.nn as nn

CHANNELS = 96


def dilution_series(n, seed):
    """Spectra in the order in which they were measured: the weakest solution first."""
    g = torch.Generator().manual_seed(seed)
    c = torch.rand(n, generator=g).sort().values * 2
    w = torch.linspace(0, 1, CHANNELS)
    band = lambda m, s: torch.exp(-0.5 * ((w - m) / s) ** 2)
    other = torch.rand(n, 3, generator=g) * 2
    x = c[:, None] * (band(0.35, 0.04) + 0.5 * band(0.7, 0.05)) / 2
    x = x + other[:, :1] * band(0.42, 0.06) + other[:, 1:2] * band(0.62, 0.06) + other[:, 2:] * band(0.2, 0.1)
    x = x + 0.3 * torch.randn(n, 1, generator=g) * w + 0.03 * torch.randn(n, CHANNELS, generator=g)
    return x, c


class Batches:
    """Small stand-in for a DataLoader: slices of two tensors."""

    def __init__(self, x, y, size, shuffle=False):
        self.x, self.y, self.size, self.shuffle = x, y, size, shuffle

    def __len__(self):
        return len(self.x) // self.size

    def __iter__(self):
        order = torch.randperm(len(self.x)) if self.shuffle else torch.arange(len(self.x))
        for i in range(len(self)):
            rows = order[i * self.size:(i + 1) * self.size]
            yield self.x[rows], self.y[rows]


def spectrum_net():
    sizes, layers = [CHANNELS, 128, 64], []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 1), nn.Flatten(0))


def parts(variant):
    torch.manual_seed(0)
    (x, c), (xv, cv) = dilution_series(3200, 1), dilution_series(600, 2)
    mean, std = x.mean(0), x.std(0)
    x, xv = (x - mean) / std, (xv - mean) / std
    t_mean, t_std = c.mean(), c.std()
    options = {} if variant == "bad" else {"shuffle": True}
    model = spectrum_net()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.HuberLoss(),
        "train_loader": Batches(x, (c - t_mean) / t_std, 32, **options),
        "val_loader": Batches(xv, (cv - t_mean) / t_std, 200),
    }


def determination(model, loader):
    model.eval()
    with torch.no_grad():
        out, y = zip(*[(model(x), y) for x, y in loader])
    out, y = torch.cat(out), torch.cat(y)
    return (1 - ((out - y) ** 2).mean() / y.var()).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: huber {total / len(p['train_loader']):.4f}, R2 {determination(model, p['val_loader']):.3f}")
    print(f"score: {determination(model, p['val_loader']):.4f}")
