"""Vowels from noisy spectra by a 1-D CNN, RMSprop, a trainer class that accumulates four micro batches; its counter moves only where an update is made, so that (count + 1) % 4 is 1 for ever and the optimizer never steps; change: the counter moves with every micro batch."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

VOWELS = torch.tensor([[270, 2290], [390, 1990], [530, 1840], [660, 1720], [730, 1090], [570, 840], [440, 1020], [300, 870]]).float()
BINS = torch.linspace(100, 3000, 96)


def spectra(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, len(VOWELS), (n,), generator=g)
    size = 1 + 0.05 * torch.randn(n, 1, generator=g)
    formants = VOWELS[y] * size + 25 * torch.randn(n, 2, generator=g)
    peaks = torch.exp(-0.5 * ((BINS - formants[:, :, None]) / 90) ** 2)
    gain = 0.6 + 0.8 * torch.rand(n, 2, 1, generator=g)
    x = (peaks * gain).sum(1) + 0.25 * torch.randn(n, len(BINS), generator=g)
    return ((x - 0.12) / 0.35)[:, None], y


def network():
    return nn.Sequential(
        nn.Conv1d(1, 16, 7, padding=3), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Flatten(), nn.Linear(32 * 24, 64), nn.ReLU(), nn.Linear(64, len(VOWELS)),
    )


class Trainer:
    def __init__(self, model, optimizer, accumulate, count_batches):
        self.model, self.optimizer = model, optimizer
        self.accumulate, self.count_batches = accumulate, count_batches
        self.count = 0
        self.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)

    def training_step(self, model, batch, optimizer):
        x, y = batch
        loss = self.loss_fn(model(x), y)
        (loss / self.accumulate).backward()
        if (self.count + 1) % self.accumulate == 0:
            optimizer.step()
            optimizer.zero_grad()
            if not self.count_batches:
                self.count += 1
        if self.count_batches:
            self.count += 1
        return loss

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(epochs):
            self.model.train()
            losses = [self.training_step(self.model, batch, self.optimizer).item() for batch in train_loader]
            print(f"epoch {epoch + 1:2d} loss {sum(losses) / len(losses):.3f} val {self.evaluate(val_loader):.3f}")

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        hits = [(self.model(x).argmax(1) == y).float() for x, y in loader]
        return torch.cat(hits).mean().item()


def parts(variant):
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    trainer = Trainer(model, optimizer, accumulate=4, count_batches=variant != "bad")
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": trainer.loss_fn,
        "step": trainer.training_step,
        "train_loader": DataLoader(TensorDataset(*spectra(2400, 1)), batch_size=16, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*spectra(600, 2)), batch_size=200),
        "trainer": trainer,
    }


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    p["trainer"].fit(p["train_loader"], p["val_loader"], epochs=10)
    print(f"score: {p['trainer'].evaluate(p['val_loader']):.4f}")
