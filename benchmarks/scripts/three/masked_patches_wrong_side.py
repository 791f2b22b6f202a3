"""Masked autoencoder on digits; the mask marks what is kept and the loss is taken there, not on what was hidden; change: the fixed twin takes it on the hidden pixels."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def load_digits(n=1797, seed=1797):
    """Small written digits, 8x8 with values 0 to 16: a 5x7 font, turned, stretched, shifted and blurred by hand."""
    font = ["0e11131519110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]
    glyph = torch.tensor([[[int(f[2 * r:2 * r + 2], 16) >> (4 - c) & 1 for c in range(5)] for r in range(7)] for f in font], dtype=torch.float32)
    glyph = nn.functional.pad(glyph, (2, 1, 0, 1))
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 10, (n,), generator=g)
    a = 0.15 * torch.randn(n, generator=g)
    s = 1 + 0.12 * torch.randn(n, 2, generator=g)
    t = 0.1 * torch.randn(n, 2, generator=g)
    theta = torch.stack([torch.stack([a.cos() * s[:, 0], -a.sin(), t[:, 0]], 1), torch.stack([a.sin(), a.cos() * s[:, 1], t[:, 1]], 1)], 1)
    x = nn.functional.grid_sample(glyph[y].unsqueeze(1), nn.functional.affine_grid(theta, (n, 1, 8, 8), align_corners=False), align_corners=False)[:, 0]
    x = (x * (0.8 + 0.4 * torch.rand(n, 1, 1, generator=g)) + 0.06 * torch.randn(n, 8, 8, generator=g)).clamp(0, 1) * 16
    return x.round(), y


def patch_mask(n, hide=0.4, generator=None):
    """(n, 64) with 1 for pixels of patches that stay; 2x2 patches"""
    keep = (torch.rand(n, 1, 4, 4, generator=generator) > hide).float()
    return keep.repeat_interleave(2, -1).repeat_interleave(2, -2).flatten(1)


class MaskedAutoencoder(nn.Module):
    def __init__(self, n_pixels=64, hidden=160):
        super().__init__()
        self.mask_value = nn.Parameter(torch.zeros(n_pixels))
        self.net = nn.Sequential(nn.Linear(2 * n_pixels, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.LayerNorm(hidden), nn.Linear(hidden, n_pixels))

    def forward(self, x, mask):
        x = x * mask + self.mask_value * (1 - mask)
        return self.net(torch.cat([x, mask], 1))


def parts(variant):
    torch.manual_seed(0)
    x = load_digits()[0].flatten(1) / 16
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(8))]
    x = (x - x[:1500].mean()) / x[:1500].std()
    model = MaskedAutoencoder()

    def training_step(net, batch):
        (img,) = batch
        mask = patch_mask(len(img))
        err = (net(img, mask) - img) ** 2
        where = mask if variant == "bad" else 1 - mask
        return (err * where).sum() / where.sum()

    return {
        "model": model,
        "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.05),
        "training_step": training_step,
        "train_loader": DataLoader(TensorDataset(x[:1500]), batch_size=60, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1500:]), batch_size=297),
    }


WORKS = lambda score: score > 0.3  # explained variance on the hidden pixels

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        model.train()
        log = []
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            log.append(loss.item())
        model.eval()
        with torch.no_grad():
            (img,) = next(iter(p["val_loader"]))
            m = patch_mask(len(img), generator=torch.Generator().manual_seed(1))
            hidden = 1 - m
            err = ((model(img, m) - img) ** 2 * hidden).sum()
            base = ((img - img.mean(0)) ** 2 * hidden).sum()
            ev = (1 - err / base).item()
        print(f"epoch {epoch:2d} loss {sum(log) / len(log):.4f} hidden explained {ev:.4f}")
    print(f"score: {ev:.4f}")
