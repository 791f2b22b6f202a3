"""Denoising autoencoder on digits whose noise grows from epoch to epoch; no mistake: the training loss rises because the task gets harder, the cleaning of a fixed noise gets better; change: nothing."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits

EPOCHS = 30
WORKS = lambda explained: explained > 0.45


class NoiseCurriculum:
    """Batches (noisy, clean); each pass over it is noisier than the last."""

    def __init__(self, images, batch_size=64, start=0.05, end=0.6):
        self.images, self.batch_size = images, batch_size
        self.start, self.end, self.passes = start, end, 0

    def sigma(self):
        return self.start + (self.end - self.start) * min(1.0, self.passes / (EPOCHS - 1))

    def __len__(self):
        return len(self.images) // self.batch_size

    def __iter__(self):
        sigma = self.sigma()
        self.passes += 1
        for idx in torch.randperm(len(self.images))[:len(self) * self.batch_size].split(self.batch_size):
            clean = self.images[idx]
            yield clean + sigma * torch.randn_like(clean), clean


class Denoiser(nn.Module):
    def __init__(self, c=32):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), nn.GELU(), nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.GELU())
        self.core = nn.Sequential(nn.Flatten(), nn.Linear(2 * c * 16, 64), nn.GELU(), nn.Linear(64, 2 * c * 16), nn.GELU())
        self.up = nn.Sequential(nn.ConvTranspose2d(2 * c, c, 4, 2, 1), nn.GELU(), nn.Conv2d(c, 1, 3, padding=1))

    def forward(self, x):
        h = self.down(x)
        return self.up(h + self.core(h).view_as(h))


def parts(variant="fixed"):
    torch.manual_seed(8)
    x = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
    x = x[torch.randperm(len(x))]
    g = torch.Generator().manual_seed(1)
    held = x[1400:]
    val = [(held + 0.5 * torch.randn(held.shape, generator=g), held)]
    model = Denoiser()
    return {"model": model, "optimizer": torch.optim.NAdam(model.parameters(), lr=1e-3),
            "train_loader": NoiseCurriculum(x[:1400]), "val_loader": val, "loss_fn": nn.MSELoss()}


def explained(model, val):
    noisy, clean = val[0]
    with torch.no_grad():
        err = ((model(noisy) - clean) ** 2).mean()
    return (1 - err / ((clean - clean.mean(0)) ** 2).mean()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, mse = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(EPOCHS):
        sigma = p["train_loader"].sigma()
        total = 0.0
        for noisy, clean in p["train_loader"]:
            optimizer.zero_grad()
            loss = mse(model(noisy), clean)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1:2d}  sigma {sigma:.2f}  train mse {total / len(p['train_loader']):.4f}  "
                  f"explained at sigma 0.5: {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
