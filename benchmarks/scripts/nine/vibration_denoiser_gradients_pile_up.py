"""Residual 1-D CNN that takes the noise out of vibration records, SGD with momentum; mistake: the loop's body has no zero_grad, so each step follows the sum of all gradients so far; change: optimizer.zero_grad() before backward."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 128


def records(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(LENGTH) / LENGTH
    clean = torch.zeros(n, LENGTH)
    for _ in range(3):
        f = 2 + 10 * torch.rand(n, 1, generator=g)
        a = torch.rand(n, 1, generator=g)
        phase = 6.2832 * torch.rand(n, 1, generator=g)
        clean += a * torch.sin(6.2832 * f * t + phase)
    noisy = clean + 0.8 * torch.randn(n, LENGTH, generator=g)
    return noisy.unsqueeze(1), clean.unsqueeze(1)


class Denoiser(nn.Module):
    """Predicts the noise and takes it off."""

    def __init__(self, width=24, depth=4):
        super().__init__()
        layers = [nn.Conv1d(1, width, 9, padding=4), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv1d(width, width, 9, padding=4, bias=False), nn.BatchNorm1d(width), nn.ReLU()]
        layers += [nn.Conv1d(width, 1, 9, padding=4)]
        self.noise = nn.Sequential(*layers)

    def forward(self, x):
        return x - self.noise(x)


def parts(variant):
    torch.manual_seed(0)
    model = Denoiser()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    criterion = nn.MSELoss()

    def step(model, batch, optimizer):
        noisy, clean = batch
        if variant != "bad":
            optimizer.zero_grad()
        loss = criterion(model(noisy), clean)
        loss.backward()
        optimizer.step()
        return loss

    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": criterion,
        "step": step,
        "train_loader": DataLoader(TensorDataset(*records(1600, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*records(300, 2)), batch_size=100),
    }


@torch.no_grad()
def gain_db(model, loader):
    """Decibels of noise taken away; 0 is what doing nothing gives."""
    model.eval()
    before = after = 0.0
    for noisy, clean in loader:
        before += ((noisy - clean) ** 2).sum()
        after += ((model(noisy) - clean) ** 2).sum()
    return (10 * torch.log10(before / after)).item()


WORKS = lambda score: score > 5.0

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(10):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            total += p["step"](model, batch, optimizer).item()
        print(f"epoch {epoch + 1}: mse {total / len(p['train_loader']):.4f}, gain {gain_db(model, p['val_loader']):.2f} dB")
    print(f"score: {gain_db(model, p['val_loader']):.4f}")
