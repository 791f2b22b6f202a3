"""Transformer over the 2x2 patches of handwritten digits (scikit-learn), class token, pre-norm, AdamW with linear warm-up and cosine decay per batch; sound; change: none."""
import math
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

EPOCHS, WARMUP = 30, 80


class PatchTransformer(nn.Module):
    def __init__(self, dim=48, depth=3, heads=4):
        super().__init__()
        self.patch = nn.Conv2d(1, dim, 2, stride=2)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.randn(1, 17, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)
        nn.init.zeros_(self.head.weight)

    def forward(self, img):
        x = self.patch(img).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.encoder(x)[:, 0]))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    X = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(d.target)
    a, b = train_test_split(range(len(y)), test_size=0.2, stratify=d.target, random_state=0)
    train_loader = DataLoader(TensorDataset(X[a], y[a]), batch_size=64, shuffle=True)
    model = PatchTransformer()
    decay = [p for n, p in model.named_parameters() if p.ndim > 1 and n not in ("cls", "pos")]
    plain = [p for n, p in model.named_parameters() if p.ndim <= 1 or n in ("cls", "pos")]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=2e-3)
    total = EPOCHS * len(train_loader)

    def factor(it):
        if it < WARMUP:
            return (it + 1) / WARMUP
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (it - WARMUP) / (total - WARMUP))))

    sched = torch.optim.lr_scheduler.LambdaLR(opt, factor)
    crit = nn.CrossEntropyLoss()

    def step(model, batch, optimizer):
        loss = crit(model(batch[0]), batch[1])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        sched.step()
        return loss.detach()

    return dict(model=model, optimizer=opt, step=step, train_loader=train_loader, val_loader=DataLoader(TensorDataset(X[b], y[b]), batch_size=180))


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(EPOCHS):
        model.train()
        losses = [p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1} loss {sum(losses) / len(losses):.4f} lr {p['optimizer'].param_groups[0]['lr']:.2e}")
    model.eval()
    with torch.no_grad():
        score = torch.cat([model(x).argmax(1) == y for x, y in p["val_loader"]]).float().mean().item()
    print(f"score: {score:.4f}")
