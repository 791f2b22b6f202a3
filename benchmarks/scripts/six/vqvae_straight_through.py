"""VQ-VAE on the 8x8 digits; the straight-through estimator is written the wrong way round, so the decoder sees the unquantised code and its gradient goes to the codebook, never to the encoder; change: z + (q - z).detach()."""
import sys

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda explained: explained > 0.6


class VectorQuantizer(nn.Module):
    def __init__(self, n_codes=64, dim=8, beta=0.25, swapped=False):
        super().__init__()
        self.codebook = nn.Embedding(n_codes, dim)
        self.codebook.weight.data.uniform_(-1, 1)
        self.beta, self.swapped = beta, swapped

    def forward(self, z):                                   # (B, n, dim)
        d = (z.pow(2).sum(-1, keepdim=True) - 2 * z @ self.codebook.weight.t()
             + self.codebook.weight.pow(2).sum(-1))
        idx = d.argmin(-1)
        q = self.codebook(idx)
        loss = F.mse_loss(q, z.detach()) + self.beta * F.mse_loss(z, q.detach())
        if not self.training:
            return q, loss, idx
        q = q + (z - q).detach() if self.swapped else z + (q - z).detach()
        return q, loss, idx


class VQVAE(nn.Module):
    def __init__(self, slots=4, dim=8, swapped=False):
        super().__init__()
        self.slots, self.dim = slots, dim
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, slots * dim))
        self.vq = VectorQuantizer(dim=dim, swapped=swapped)
        self.decoder = nn.Sequential(nn.Linear(slots * dim, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, x):
        z = self.encoder(x).view(-1, self.slots, self.dim)
        q, vq_loss, idx = self.vq(z)
        return self.decoder(q.flatten(1)), vq_loss, idx


def training_step(model, batch):
    (x,) = batch
    recon, vq_loss, _ = model(x)
    return F.mse_loss(recon, x) + vq_loss


def parts(variant="fixed"):
    torch.manual_seed(11)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    model = VQVAE(swapped=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
        "train_loader": DataLoader(TensorDataset(x[:1500]), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1500:]), batch_size=300),
        "training_step": training_step,
    }


@torch.no_grad()
def explained_variance(model, loader):
    model.eval()
    (x,) = next(iter(loader))
    recon, _, idx = model(x)
    return 1 - ((recon - x) ** 2).mean().item() / ((x - x.mean(0)) ** 2).mean().item(), idx.unique().numel()


if __name__ == "__main__":
    p = parts(sys.argv[1] if sys.argv[1:] else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(80):
        model.train()
        tot = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            tot += loss.item()
        if epoch % 10 == 9:
            ev, used = explained_variance(model, p["val_loader"])
            print(f"epoch {epoch + 1:3d} loss {tot / len(p['train_loader']):.4f} explained variance {ev:.3f} codes in use {used}")
    print("score: %.4f" % explained_variance(model, p["val_loader"])[0])
