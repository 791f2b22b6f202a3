"""Predicts the force (to either side, so of both signs) in the rubber bearing of a footbridge from its displacement during the last 12 samples, velocity, temperature and age.
The helper puts a ReLU behind every linear layer, the last one too, so that the network cannot give a negative force; the right change: leave the activation off behind the last layer (layers[:-1])."""
import sys
from types import SimpleNamespace

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
cfg = SimpleNamespace(history=12, widths=[15, 64, 64, 1], lr=2e-3, batch=64, epochs=15)


def shake(n, seed):
    """Bouc-Wen hysteresis, simulated for n bearings, read at the last sample."""
    g = torch.Generator().manual_seed(seed)
    temperature, age = torch.randn(n, generator=g), torch.rand(n, generator=g)
    amp, freq, phase = 0.5 + torch.rand(n, generator=g), 0.2 + 0.5 * torch.rand(n, generator=g), 6.28 * torch.rand(n, generator=g)
    z, track = torch.zeros(n), []
    previous = amp * torch.sin(phase)
    for k in range(1, 41):
        u = amp * torch.sin(freq * k + phase) + 0.2 * torch.sin(2.3 * freq * k)
        du = u - previous
        z = z + du - 0.6 * du.abs() * z - 0.3 * du * z.abs()
        track.append(u)
        previous = u
    stiffness = 1.0 + 0.4 * age - 0.15 * temperature
    force = stiffness * u + 1.2 * z + 0.2 * u ** 3 + 0.05 * torch.randn(n, generator=g)
    window = torch.stack(track[-cfg.history:], 1) + 0.02 * torch.randn(n, cfg.history, generator=g)
    x = torch.cat([window, du[:, None] * 3, temperature[:, None], age[:, None] * 2 - 1], 1)
    return x, force[:, None]


def mlp(widths, ends_linear):
    layers = []
    for cin, cout in zip(widths[:-1], widths[1:]):
        layers += [nn.Linear(cin, cout), nn.ReLU()]
    if ends_linear:
        layers = layers[:-1]
    net = nn.Sequential(*layers)
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


def explained(output, target):
    return 1 - (output - target).pow(2).sum().item() / (target - target.mean()).pow(2).sum().item()


def parts(variant):
    torch.manual_seed(12)
    x, y = shake(3600, 1)
    scale = y[:3000].std()
    train, test = TensorDataset(x[:3000], y[:3000] / scale), TensorDataset(x[3000:], y[3000:] / scale)
    model = mlp(cfg.widths, ends_linear=variant != "bad")
    return dict(model=model, loss_fn=nn.SmoothL1Loss(), metric=explained,
                optimizer=torch.optim.RAdam(model.parameters(), lr=cfg.lr),
                train_loader=DataLoader(train, cfg.batch, shuffle=True), val_loader=DataLoader(test, 600))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(cfg.epochs):
        for x, force in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), force)
            loss.backward()
            p["optimizer"].step()
        with torch.no_grad():
            x, force = next(iter(p["val_loader"]))
            score = p["metric"](p["model"](x), force)
        print(f"epoch {epoch:2d}: loss {loss.item():.4f}, explained {score:.3f}")
    print("score:", score)
