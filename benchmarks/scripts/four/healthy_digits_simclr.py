"""Healthy: contrastive learning of digits without labels (NT-Xent over two noisy views); the loss stays high by nature; judged by nearest neighbours in the learned space."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_digits


class TwoViews(Dataset):
    def __init__(self, x, y):
        self.x, self.y = x, y

    def view(self, img):
        dy, dx = torch.randint(-1, 2, (2,)).tolist()
        img = torch.roll(img, (dy, dx), (1, 2))
        img = img * (0.7 + 0.6 * torch.rand(1)) + 0.25 * torch.randn_like(img)
        if torch.rand(()) < 0.5:
            r, c = torch.randint(0, 6, (2,)).tolist()
            img = img.clone()
            img[:, r:r + 3, c:c + 3] = 0
        return img

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.view(self.x[i]), self.view(self.x[i]), self.y[i]


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
                                      nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
        self.projector = nn.Sequential(nn.Linear(192, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, x):
        return F.normalize(self.projector(self.backbone(x)), dim=1)


def nt_xent(a, b, t=0.3):
    z = torch.cat([a, b])
    sim = z @ z.t() / t
    sim.fill_diagonal_(-1e9)
    n = len(a)
    return F.cross_entropy(sim, torch.arange(2 * n).roll(n))


def training_step(model, batch):
    v1, v2, _ = batch
    return nt_xent(model(v1), model(v2))


def parts(variant):
    torch.manual_seed(0)
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 8 - 0.6
    y = torch.tensor(d.target)
    perm = torch.randperm(len(x), generator=torch.Generator().manual_seed(4))
    x, y = x[perm], y[perm]
    model = Encoder()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2),
            "training_step": training_step,
            "train_loader": DataLoader(TwoViews(x[:1400], y[:1400]), batch_size=140, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TwoViews(x[1400:], y[1400:]), batch_size=140)}


WORKS = lambda score: score > 0.85


@torch.no_grad()
def knn(model, train, val):
    model.eval()
    a, b = model(train.x), model(val.x)
    near = (b @ a.t()).topk(5, dim=1).indices
    votes = F.one_hot(train.y[near], 10).sum(1)
    return (votes.argmax(1) == val.y).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(30):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} loss {total / len(p['train_loader']):.3f} knn {knn(model, p['train_loader'].dataset, p['val_loader'].dataset):.3f}")
    print(f"score: {knn(model, p['train_loader'].dataset, p['val_loader'].dataset):.4f}")
