"""Transformer reads, at a summary token, the difference of two flagged pulses in a radar train, Adam with warm-up; its hand-written attention hands (batch, time, heads, dim) to scaled_dot_product_attention, the layout of flash-attention, which takes heads for time, so no pulse ever sees another; change: transpose to (batch, heads, time, dim)."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

PULSES = 16


def trains(n, seed):
    g = torch.Generator().manual_seed(seed)
    value = torch.randn(n, PULSES, 1, generator=g)
    other = torch.randn(n, PULSES, 2, generator=g)
    flags = torch.zeros(n, PULSES, 2)
    y = torch.zeros(n)
    for i in range(n):
        a, b = torch.randperm(PULSES, generator=g)[:2].tolist()
        flags[i, a, 0] = flags[i, b, 1] = 1.0
        y[i] = (value[i, a, 0] - value[i, b, 0]) / 2 ** 0.5
    return torch.cat([value, other, flags], -1), y


class SelfAttention(nn.Module):
    def __init__(self, dim, heads, transpose):
        super().__init__()
        self.heads, self.transpose = heads, transpose
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, D // self.heads).unbind(2)
        if self.transpose:
            q, k, v = (z.transpose(1, 2) for z in (q, k, v))
            z = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        else:
            z = F.scaled_dot_product_attention(q, k, v)
        return self.out(z.reshape(B, T, D))


class Layer(nn.Module):
    def __init__(self, dim, heads, transpose):
        super().__init__()
        self.attention = SelfAttention(dim, heads, transpose)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class PulseTransformer(nn.Module):
    def __init__(self, transpose, dim=32, heads=4, depth=2):
        super().__init__()
        self.embed = nn.Linear(5, dim)
        self.summary = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.layers = nn.ModuleList([Layer(dim, heads, transpose) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 1)

    def forward(self, x):
        x = torch.cat([self.summary.expand(len(x), -1, -1), self.embed(x)], 1)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x[:, 0])).squeeze(-1)


def parts(variant):
    torch.manual_seed(0)
    model = PulseTransformer(transpose=variant != "bad")
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return {
        "model": model,
        "optimizer": optimizer,
        "scheduler": torch.optim.lr_scheduler.LinearLR(optimizer, 0.2, 1.0, total_iters=3),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*trains(3000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*trains(400, 2)), batch_size=200),
    }


@torch.no_grad()
def r2(model, loader):
    model.eval()
    out = torch.cat([model(x) for x, _ in loader])
    y = torch.cat([y for _, y in loader])
    return (1 - (out - y).pow(2).sum() / (y - y.mean()).pow(2).sum()).item()


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            optimizer.step()
        p["scheduler"].step()
        print(f"epoch {epoch + 1}: loss {loss.item():.4f}, R2 {r2(model, p['val_loader']):.3f}")
    print(f"score: {r2(model, p['val_loader']):.4f}")
