"""Adapting a frozen digit classifier to rotated images with LoRA; both low-rank factors start at zero, so neither ever gets a gradient; change: A is random, B zero."""
import math
import sys
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


FONT = ["0e11111111110e", "040c040404040e", "0e11010204081f", "1f02040201110e", "02060a121f0202", "1f101e0101110e", "0608101e11110e", "1f010204080808", "0e11110e11110e", "0e11110f01020c"]


def glyphs(n, seed):
    """Digits of a 5 x 7 font on 8 x 8 pixels, somewhere, strokes of unequal ink, smeared and speckled."""
    rng = np.random.RandomState(seed)
    y = rng.randint(0, 10, n)
    x = np.zeros((n, 8, 8), dtype=np.float32)
    for i, k in enumerate(y):
        rows = [int(FONT[k][2 * r:2 * r + 2], 16) for r in range(7)]
        bits = np.array([[(b >> (4 - c)) & 1 for c in range(5)] for b in rows], dtype=np.float32)
        dy, dx = rng.randint(0, 2), rng.randint(0, 4)
        x[i, dy:dy + 7, dx:dx + 5] = bits * rng.uniform(0.6, 1.0, bits.shape)
    smear = rng.uniform(0, 0.3, (n, 1, 1)).astype(np.float32)
    x = (1 - smear) * x + smear * np.roll(x, 1, axis=2)
    return np.clip(x + 0.08 * rng.randn(n, 8, 8), 0, 1).astype(np.float32), y.astype(np.int64)


class LoRALinear(nn.Module):
    def __init__(self, base, r=8, alpha=16, a_init="kaiming"):
        super().__init__()
        self.base = base
        for q in self.base.parameters():
            q.requires_grad = False
        self.lora_A = nn.Parameter(torch.empty(r, base.in_features))
        self.lora_B = nn.Parameter(torch.empty(base.out_features, r))
        self.scaling = alpha / r
        if a_init == "kaiming":
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        else:
            nn.init.zeros_(self.lora_A)
        nn.init.zeros_(self.lora_B)

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T) @ self.lora_B.T * self.scaling


def as_set(x, y):
    return TensorDataset(torch.from_numpy(np.ascontiguousarray(x)).flatten(1), torch.from_numpy(y))


def pretrain(x, y):
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    opt = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(15):
        for a, b in DataLoader(as_set(x, y), batch_size=64, shuffle=True):
            opt.zero_grad()
            nn.functional.cross_entropy(net(a), b).backward()
            opt.step()
    return net


def parts(variant):
    torch.manual_seed(0)
    x, y = glyphs(2600, 4)
    net = pretrain(x[:2000], y[:2000])
    for i in (0, 2, 4):
        net[i] = LoRALinear(net[i], a_init="zeros" if variant == "bad" else "kaiming")
    trainable = [q for q in net.parameters() if q.requires_grad]
    turned = np.rot90(x, axes=(1, 2))
    return {"model": net, "optimizer": torch.optim.AdamW(trainable, lr=3e-3, weight_decay=0.0), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(as_set(turned[:2000], y[:2000]), batch_size=32, shuffle=True),
            "val_loader": DataLoader(as_set(turned[2000:], y[2000:]), batch_size=256)}


WORKS = lambda score: score > 0.75


class Trainer:
    def __init__(self, model, optimizer, loss_fn, train_loader, val_loader):
        self.model, self.optimizer, self.loss_fn = model, optimizer, loss_fn
        self.train_loader, self.val_loader = train_loader, val_loader

    def fit(self, epochs):
        for e in range(epochs):
            self.model.train()
            running = 0.0
            for x, y in self.train_loader:
                self.optimizer.zero_grad()
                loss = self.loss_fn(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                running += loss.item()
            print(f"epoch {e + 1}: loss {running / len(self.train_loader):.4f} val_acc {self.evaluate():.4f}")

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        hits = [(self.model(x).argmax(1) == y) for x, y in self.val_loader]
        return torch.cat(hits).float().mean().item()


if __name__ == "__main__":
    t = Trainer(**parts(sys.argv[1] if len(sys.argv) > 1 else "bad"))
    n = sum(q.numel() for q in t.model.parameters() if q.requires_grad)
    print("trainable parameters:", n)
    t.fit(40)
    print(f"score: {t.evaluate():.4f}")
