"""Sound though a plain list holds layers that no optimizer has: a fixed filter bank (Gabor filters as nn.Conv1d in a Python list, requires_grad off, on purpose not in the state_dict since it can be computed) before a trained classifier of bearing faults."""
import math
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH, FAULTS = 256, 4


def vibrations(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, FAULTS, (n,), generator=g)
    t = torch.arange(LENGTH).float()
    carrier = torch.tensor([0.06, 0.11, 0.19, 0.11])[y].unsqueeze(1) * (1 + 0.05 * torch.randn(n, 1, generator=g))
    beat = torch.tensor([0.008, 0.008, 0.008, 0.03])[y].unsqueeze(1)
    phase = 6.28 * torch.rand(n, 2, generator=g)
    x = torch.sin(6.28 * carrier * t + phase[:, :1]) * (1 + torch.sin(6.28 * beat * t + phase[:, 1:]))
    x = x + 0.8 * torch.randn(n, LENGTH, generator=g)
    return ((x - x.mean()) / x.std()).unsqueeze(1), y


def gabor(frequency, width=33):
    conv = nn.Conv1d(1, 2, width, padding=width // 2, bias=False)
    t = torch.arange(width).float() - width // 2
    window = torch.exp(-t ** 2 / (2 * 7.0 ** 2))
    kernel = torch.stack([window * torch.cos(2 * math.pi * frequency * t), window * torch.sin(2 * math.pi * frequency * t)])
    conv.weight.data.copy_((kernel / kernel.norm(dim=1, keepdim=True)).unsqueeze(1))
    return conv.requires_grad_(False)


class FaultNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.bank = [gabor(f) for f in torch.linspace(0.03, 0.27, 12).tolist()]
        self.body = nn.Sequential(
            nn.BatchNorm1d(12), nn.Conv1d(12, 24, 9, stride=4, padding=4), nn.ReLU(),
            nn.Conv1d(24, 24, 5, stride=2, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(24, FAULTS))

    def forward(self, x):
        envelopes = [band(x).pow(2).sum(1).add(1e-6).sqrt() for band in self.bank]
        return self.body(torch.stack(envelopes, 1))


def parts(variant):
    torch.manual_seed(0)
    model = FaultNet()
    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3),
        "loss_fn": nn.CrossEntropyLoss(label_smoothing=0.05),
        "train_loader": DataLoader(TensorDataset(*vibrations(600, 1)), batch_size=30, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*vibrations(200, 2)), batch_size=100),
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
    for epoch in range(8):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: {loss.item():.4f} {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")
