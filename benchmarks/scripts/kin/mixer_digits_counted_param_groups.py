"""MLP-Mixer on digits; the parameter groups are generator expressions that the line which counts them has already run through, so the optimizer's groups are empty; change: lists."""
import sys
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class MixerBlock(nn.Module):
    def __init__(self, tokens, dim):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.token_mix = nn.Sequential(nn.Linear(tokens, 32), nn.GELU(), nn.Linear(32, tokens))
        self.channel_mix = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x):
        x = x + self.token_mix(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channel_mix(self.norm2(x))


class Mixer(nn.Module):
    def __init__(self, dim=32, depth=3, patch=2, classes=10):
        super().__init__()
        self.patchify = nn.Conv2d(1, dim, patch, patch)
        self.blocks = nn.Sequential(*[MixerBlock(16, dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        x = self.patchify(x).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.blocks(x)).mean(1))


def build_optimizer(model, variant, lr=2e-3, weight_decay=0.05):
    decay = (p for p in model.parameters() if p.ndim > 1)
    no_decay = (p for p in model.parameters() if p.ndim <= 1)
    if variant != "bad":
        decay, no_decay = list(decay), list(no_decay)
    print(f"decayed parameters: {sum(p.numel() for p in decay):,}   not decayed: {sum(p.numel() for p in no_decay):,}")
    return torch.optim.AdamW([
        {"params": decay, "weight_decay": weight_decay},
        {"params": no_decay, "weight_decay": 0.0},
    ], lr=lr)


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 8 - 0.6
    y = torch.tensor(d.target)
    idx = torch.randperm(len(x))
    tr, va = idx[:1400], idx[1400:]
    model = Mixer()
    return {
        "model": model,
        "optimizer": build_optimizer(model, variant),
        "train_loader": DataLoader(TensorDataset(x[tr], y[tr]), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[va], y[va]), batch_size=256),
        "loss_fn": F.cross_entropy,
    }


@torch.no_grad()
def accuracy(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


WORKS = lambda score: score > 0.9


def main(variant="fixed", epochs=15):
    torch.set_num_threads(1)
    p = parts(variant)
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, epochs + 1):
        model.train()
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y, label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if epoch % 3 == 0:
            print(f"epoch {epoch}: last loss {loss.item():.3f}, val acc {accuracy(model, p['val_loader']):.3f}")
    print(f"score: {accuracy(model, p['val_loader']):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
