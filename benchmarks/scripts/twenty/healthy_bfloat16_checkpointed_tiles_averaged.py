"""Small vision transformer on drawn floor tiles: bfloat16 autocast on the CPU, blocks recomputed by checkpoint, layer scale from 1e-2, label smoothing, weights averaged after every step for the test; sound. change: nothing."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


def tiles(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 5, (n,), generator=g)
    t = torch.arange(16).float()
    yy, xx = torch.meshgrid(t, t, indexing="ij")
    p = torch.randint(0, 8, (n, 1, 1), generator=g)
    q = torch.randint(0, 8, (n, 1, 1), generator=g)
    rows, cols, diag = ((yy + p) // 2 % 2), ((xx + q) // 2 % 2), ((xx + yy + p) // 2 % 2)
    kinds = torch.stack([rows, cols, (rows + cols) % 2, diag, rows * cols], 1)
    img = kinds[torch.arange(n), y] * 2 - 1
    return (img + 1.0 * torch.randn(n, 16, 16, generator=g))[:, None], y


class Block(nn.Module):
    def __init__(self, d, heads=4):
        super().__init__()
        self.n1, self.n2, self.heads = nn.LayerNorm(d), nn.LayerNorm(d), heads
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.g1, self.g2 = nn.Parameter(torch.full((d,), 1e-2)), nn.Parameter(torch.full((d,), 1e-2))

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, t, d)
        x = x + self.g1 * self.proj(a)
        return x + self.g2 * self.mlp(self.n2(x))


class TinyViT(nn.Module):
    def __init__(self, d=48, depth=2):
        super().__init__()
        self.patch = nn.Conv2d(1, d, 4, 4)
        self.pos = nn.Parameter(torch.randn(1, 16, d) * 0.02)
        self.blocks, self.norm, self.head = nn.ModuleList(Block(d) for _ in range(depth)), nn.LayerNorm(d), nn.Linear(d, 5)
        nn.init.zeros_(self.head.weight)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2) + self.pos
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.training else block(x)
        return self.head(self.norm(x).mean(1))


def training_step(model, batch):
    x, y = batch
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x)
    return F.cross_entropy(out.float(), y, label_smoothing=0.1)


def parts(variant):
    torch.manual_seed(0)
    model = TinyViT()
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    return dict(model=model, optimizer=opt, training_step=training_step, train_loader=DataLoader(TensorDataset(*tiles(1920, 1)), 64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*tiles(500, 2)), 250))


WORKS = lambda score: score > 0.85  # accuracy of the averaged weights

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.97))
    for epoch in range(7):
        model.train(); total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            ema.update_parameters(model)
            total += loss.item() / 30
        print(f"epoch {epoch} loss {total:.4f}")
    ema.eval()
    with torch.no_grad():
        score = sum((ema(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 500
    print(f"score: {score:.4f}")
