"""Says what lies in a box from the attic by the words on its lid: 24 labels, of which each is true for about 3 boxes in 100. Looks odd, is sound: an asymmetric focal loss that all but forgets the easy negatives, summed over the labels, last biases at the rarity, and a cosine rate that jumps back up every ten epochs, with the loss. The score is the mean average precision. There is no mistake and nothing to change; the variant is ignored."""
import math
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.metrics import average_precision_score
from torch.utils.data import DataLoader

torch.set_num_threads(1)
LABELS, WORDS, RARITY, CYCLE = 24, 180, 0.03, 10


def boxes(n, seed):
    attic, rng = np.random.default_rng(1911), np.random.default_rng(seed)
    typical = np.stack([attic.choice(WORDS, 7, replace=False) for _ in range(LABELS)])
    examples = []
    for _ in range(n):
        y = rng.random(LABELS) < RARITY
        words = list(rng.integers(0, WORDS, 5))
        for k in np.flatnonzero(y):
            words += list(rng.choice(typical[k], 4, replace=False))
        examples.append((torch.tensor(rng.permutation(words)), torch.tensor(y, dtype=torch.float32)))
    return examples


def collate(examples):
    lids, ys = zip(*examples)
    offsets = torch.tensor([0] + [len(t) for t in lids[:-1]]).cumsum(0)
    return (torch.cat(lids), offsets), torch.stack(ys)


class LidNet(nn.Module):
    def __init__(self, dim=64):
        super().__init__()
        self.bag = nn.EmbeddingBag(WORDS, dim, mode="sum")
        self.norm = nn.LayerNorm(dim)
        self.hidden = nn.Linear(dim, 96)
        self.out = nn.Linear(96, LABELS)
        nn.init.constant_(self.out.bias, math.log(RARITY / (1 - RARITY)))

    def forward(self, lids):
        words, offsets = lids
        h = self.norm(self.bag(words, offsets))
        return self.out(F.relu(self.hidden(h)))


class AsymmetricLoss(nn.Module):
    def __init__(self, gamma_neg=2.0, shift=0.02):
        super().__init__()
        self.gamma_neg, self.shift = gamma_neg, shift

    def forward(self, logits, y):
        prob = logits.sigmoid()
        shifted = (prob - self.shift).clamp(min=0)
        positive = -F.logsigmoid(logits)
        negative = -(shifted ** self.gamma_neg) * torch.log1p(-shifted.clamp(max=1 - 1e-4))
        return (y * positive + (1 - y) * negative).sum(1).mean()


def parts(variant):
    torch.manual_seed(0)
    net = LidNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    return {"model": net, "optimizer": optimizer, "loss_fn": AsymmetricLoss(),
            "scheduler": torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=CYCLE, eta_min=3e-5),
            "train_loader": DataLoader(boxes(3000, 1), batch_size=50, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(boxes(1500, 2), batch_size=500, collate_fn=collate)}


def mean_average_precision(net, loader):
    net.eval()
    with torch.no_grad():
        out, y = (torch.cat(z).numpy() for z in zip(*[(net(lids), y) for lids, y in loader]))
    return float(average_precision_score(y, out, average="macro"))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net = p["model"]
    for epoch in range(2 * CYCLE):
        net.train()
        total = 0.0
        for lids, y in p["train_loader"]:
            loss = p["loss_fn"](net(lids), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        rate = p["optimizer"].param_groups[0]["lr"]
        p["scheduler"].step()
        if epoch % 4 in (1, 3):
            print(f"epoch {epoch:2d} rate {rate:.1e} loss {total / len(p['train_loader']):.3f} mAP {mean_average_precision(net, p['val_loader']):.3f}")
    print("score:", mean_average_precision(net, p["val_loader"]))
