"""Metric learning of shoe prints: a small CNN with a normalised embedding, semi-hard triplets mined in each batch (P classes, K pictures), judged on shoes never seen; sound; change: none."""
import sys
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def prints(shoes, per, seed):
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:24, :24] - 11.5
    imgs, lab = [], []
    for s in range(shoes):
        f, a, g, b = rng.uniform(0.5, 1.3), rng.uniform(0, np.pi), rng.uniform(0.5, 1.3), rng.uniform(0, np.pi)
        for _ in range(per):
            da, ph, ps = rng.normal(0, 0.06), rng.uniform(0, 6.28), rng.uniform(0, 6.28)
            u = np.sin(f * (xx * np.cos(a + da) + yy * np.sin(a + da)) + ph)
            v = np.sin(g * (xx * np.cos(b + da) + yy * np.sin(b + da)) + ps)
            im = (u + v > 0.3) * rng.uniform(0.6, 1.0) + rng.normal(0, 0.15, (24, 24))
            im[:, : rng.integers(0, 5)] = 0
            imgs.append(im)
            lab.append(s)
    x = torch.tensor(np.array(imgs), dtype=torch.float32)[:, None]
    return (x - 0.35) / 0.4, torch.tensor(lab)


class PKSampler:
    def __init__(self, labels, p, k, batches):
        self.groups = [torch.where(labels == c)[0] for c in labels.unique()]
        self.p, self.k, self.batches = p, k, batches

    def __iter__(self):
        for _ in range(self.batches):
            picked = torch.randperm(len(self.groups))[: self.p]
            yield torch.cat([self.groups[c][torch.randperm(len(self.groups[c]))[: self.k]] for c in picked]).tolist()

    def __len__(self):
        return self.batches


class Embedder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 24, 5, padding=2), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(48, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(64, dim)

    def forward(self, x):
        return F.normalize(self.fc(self.conv(x).flatten(1)), dim=1)


def semihard(emb, lab, margin=0.2):
    d = torch.cdist(emb, emb).pow(2)
    same = lab[:, None] == lab[None]
    eye = torch.eye(len(lab), dtype=torch.bool)
    ap = d[:, :, None]
    an = d[:, None, :].expand(-1, len(lab), -1)
    harder = (an > ap) & ~same[:, None, :]
    nearest = torch.where(harder, an, torch.full_like(an, 1e3)).amin(2)
    farthest = torch.where(same, torch.full_like(d, -1.0), d).amax(1, keepdim=True)
    neg = torch.where(nearest < 1e3, nearest, farthest.expand_as(nearest))
    return F.relu(d - neg + margin)[same & ~eye].mean()


def parts(variant):
    torch.manual_seed(0)
    x, y = prints(40, 20, 0)
    model = Embedder()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), loss_fn=semihard,
                train_loader=DataLoader(TensorDataset(x, y), batch_sampler=PKSampler(y, 8, 6, 30)),
                val_loader=DataLoader(TensorDataset(*prints(20, 8, 77)), batch_size=160))


WORKS = lambda score: score > 0.6  # nearest neighbour is the same shoe, 20 new shoes

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(15):
        model.train()
        tot = 0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        print(f"epoch {epoch + 1}: triplet loss {tot / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        e, y = map(torch.cat, zip(*[(model(x), y) for x, y in p["val_loader"]]))
    d = torch.cdist(e, e).fill_diagonal_(9)
    score = (y[d.argmin(1)] == y).float().mean().item()
    print(f"score: {score:.4f}")
