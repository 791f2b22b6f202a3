"""Masked autoencoder on digit images; mask is 1 for the removed patches and the loss averages over the kept ones (1 - mask); change: `fixed` averages over the removed ones."""
import argparse
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.3      # explained variance on the hidden patches of unseen images
P, N = 2, 16                           # 2x2 patches of an 8x8 image


def patchify(imgs):
    x = imgs.reshape(-1, 8 // P, P, 8 // P, P)
    return x.permute(0, 1, 3, 2, 4).reshape(-1, N, P * P)


class MaskedAutoencoder(nn.Module):
    def __init__(self, dim=48, ratio=0.5):
        super().__init__()
        self.ratio = ratio
        self.embed = nn.Linear(P * P, dim)
        self.pos = nn.Parameter(torch.randn(1, N, dim) * 0.02)
        self.dec_pos = nn.Parameter(torch.randn(1, N, dim) * 0.02)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, dim))
        block = lambda: nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.ModuleList([block(), block()])
        self.decoder = nn.ModuleList([block(), block()])
        self.norm, self.pred = nn.LayerNorm(dim), nn.Linear(dim, P * P)

    def random_masking(self, x):
        B, L, D = x.shape
        keep = int(L * (1 - self.ratio))
        shuffle = torch.rand(B, L, device=x.device).argsort(1)
        restore = shuffle.argsort(1)
        ids_keep = shuffle[:, :keep]
        mask = torch.ones(B, L, device=x.device)
        mask[:, :keep] = 0
        return x.gather(1, ids_keep[..., None].expand(-1, -1, D)), mask.gather(1, restore), restore

    def forward(self, imgs):
        x = self.embed(patchify(imgs)) + self.pos
        x, mask, restore = self.random_masking(x)
        for blk in self.encoder:
            x = blk(x)
        fill = self.mask_token.expand(x.shape[0], N - x.shape[1], -1)
        x = torch.cat([x, fill], 1).gather(1, restore[..., None].expand(-1, -1, x.shape[-1]))
        x = x + self.dec_pos
        for blk in self.decoder:
            x = blk(x)
        return self.pred(self.norm(x)), mask


def reconstruction(model, imgs, weights_of):
    pred, mask = model(imgs)
    per_patch = (pred - patchify(imgs)).pow(2).mean(-1)
    w = weights_of(mask)
    return (per_patch * w).sum() / w.sum()


def parts(variant):
    torch.manual_seed(1)
    x = torch.tensor(load_digits().images, dtype=torch.float32)
    x = (x - 4.9) / 6.0
    x = x[torch.randperm(len(x))]
    weights_of = (lambda m: 1 - m) if variant == "bad" else (lambda m: m)
    model = MaskedAutoencoder()
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
                            lr=2e-3, betas=(0.9, 0.95))
    return {"model": model, "optimizer": opt,
            "train_loader": DataLoader(TensorDataset(x[:1400]), batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset(x[1400:]), batch_size=128),
            "training_step": lambda model, batch: reconstruction(model, batch[0], weights_of)}


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=30)
    a = ap.parse_args()
    p = parts(a.variant)
    model = p["model"]
    for epoch in range(a.epochs):
        tot = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            tot += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {tot / len(p['train_loader']):.4f}")
    model.eval()
    imgs = p["val_loader"].dataset.tensors[0]
    with torch.no_grad():
        pred, mask = model(imgs)
    target, hid = patchify(imgs), mask.bool()
    base = patchify(p["train_loader"].dataset.tensors[0]).mean(0).expand_as(target)
    r2 = 1 - (pred - target)[hid].pow(2).sum() / (base - target)[hid].pow(2).sum()
    print(f"score: {r2.item():.4f}")
