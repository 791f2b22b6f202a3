"""No mistake: ArcFace (s=30, m=0.3) on digits; the loss starts far above ln 10 and accuracy without margin is what counts; change: nothing."""
import sys
import math
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.9      # nearest-prototype accuracy on test images

class ArcFaceNet(nn.Module):
    def __init__(self, dim=16, n=10, s=30.0, m=0.3):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.PReLU(), nn.MaxPool2d(2),
                                 nn.Conv2d(16, 32, 3, padding=1), nn.PReLU(), nn.Flatten(), nn.Linear(512, dim))
        self.W = nn.Parameter(torch.empty(n, dim))
        nn.init.xavier_normal_(self.W)
        self.s, self.m = s, m

    def forward(self, x):
        return F.normalize(self.net(x))

    def cosine(self, x):
        return self(x) @ F.normalize(self.W).T

def arcface_step(model, batch):
    x, y = batch
    cos = model.cosine(x).clamp(-1 + 1e-6, 1 - 1e-6)
    theta = torch.acos(cos)
    target = torch.cos((theta + model.m).clamp(max=math.pi))
    logits = torch.where(F.one_hot(y, 10).bool(), target, cos)
    return F.cross_entropy(model.s * logits, y)

def parts(variant):
    torch.manual_seed(9)
    d = load_digits()
    x, y = torch.tensor(d.images, dtype=torch.float32)[:, None] / 8 - 1, torch.tensor(d.target)
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    model = ArcFaceNet()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5),
            "train_loader": DataLoader(TensorDataset(x[:1300], y[:1300]), batch_size=32, shuffle=True),
            "training_step": arcface_step,
            "val_loader": DataLoader(TensorDataset(x[1300:], y[1300:]), batch_size=100)}

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(24):
        tot = 0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = arcface_step(model, batch)
            loss.backward()
            opt.step()
            tot += loss.item()
        print(f"epoch {epoch}: arcface loss {tot / len(p['train_loader']):.3f}")
    model.eval()
    with torch.no_grad():
        x, y = p["val_loader"].dataset.tensors
        acc = (model.cosine(x).argmax(1) == y).float().mean().item()
    print(f"score: {acc:.4f}")
