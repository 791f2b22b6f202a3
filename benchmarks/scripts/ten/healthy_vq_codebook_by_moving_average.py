"""Healthy: VQ autoencoder of digits whose codebook is a buffer renewed by moving averages inside forward, in no optimizer and without gradient; straight-through codes, a commitment term, and unused codes taken from the batch."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class MovingCodebook(nn.Module):
    def __init__(self, codes, d, decay=0.95):
        super().__init__()
        self.decay = decay
        self.register_buffer("codes", torch.randn(codes, d))
        self.register_buffer("count", torch.ones(codes))
        self.register_buffer("total", self.codes.clone())

    @torch.no_grad()
    def renew(self, flat, index):
        hot = F.one_hot(index, len(self.codes)).float()
        self.count.mul_(self.decay).add_(hot.sum(0), alpha=1 - self.decay)
        self.total.mul_(self.decay).add_(hot.T @ flat, alpha=1 - self.decay)
        unused = self.count < 0.05
        if unused.any():
            pick = flat[torch.randint(len(flat), (int(unused.sum()),))]
            self.total[unused], self.count[unused] = pick, 1.0
        self.codes.copy_(self.total / self.count.unsqueeze(1))

    def forward(self, z):
        b, d, h, w = z.shape
        flat = z.permute(0, 2, 3, 1).reshape(-1, d)
        index = torch.cdist(flat.detach(), self.codes).argmin(1)
        quantised = self.codes[index].view(b, h, w, d).permute(0, 3, 1, 2)
        if self.training:
            self.renew(flat.detach(), index)
        commitment = F.mse_loss(z, quantised)
        return z + (quantised - z).detach(), commitment


class VQ(nn.Module):
    def __init__(self, d=16):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, d, 3, padding=1))
        self.book = MovingCodebook(48, d)
        self.decoder = nn.Sequential(nn.Conv2d(d, 32, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1))

    def forward(self, x):
        q, commitment = self.book(self.encoder(x))
        return self.decoder(q), commitment


def training_step(model, batch):
    x = batch[0]
    drawn, commitment = model(x)
    return F.mse_loss(drawn, x) + 0.25 * commitment


def parts(variant="fixed"):
    torch.manual_seed(0)
    x = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(1))]
    x = (x - x[:1400].mean()) / x[:1400].std()
    model = VQ()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(TensorDataset(x[:1400]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1400:]), batch_size=397),
        "training_step": training_step,
    }


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            (x,) = next(iter(p["val_loader"]))
            value = (1 - F.mse_loss(model(x)[0], x) / x.var()).item()
        used = (model.book.count > 0.1).sum().item()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, explained {value:.3f}, codes in use {used}")
    print(f"score: {value:.4f}")
