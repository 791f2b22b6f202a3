"""Healthy: BYOL on digits with a slow teacher (EMA, in no optimizer, no gradients); the loss falls at once and then rises while the embedding gets better; nothing to change."""
import sys, copy, torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

def net(): return nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 32))
class Student(nn.Module):
    def __init__(self):
        super().__init__(); self.enc = net(); self.pred = nn.Sequential(nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 32))
    def forward(self, x): return self.pred(self.enc(x))

def view(x): return (x + 0.3 * torch.randn_like(x)) * (torch.rand_like(x) > 0.3)

def step(model, optimizer, batch):
    s, t = model["student"], model["teacher"]
    a, b = view(batch[0]), view(batch[0])
    with torch.no_grad(): ta, tb = t(a), t(b)
    loss = 2 - F.cosine_similarity(s(a), tb).mean() - F.cosine_similarity(s(b), ta).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    with torch.no_grad():
        for q, k in zip(s.enc.parameters(), t.parameters()): k.lerp_(q, 0.02)
    return loss

def parts(variant="fixed"):
    torch.manual_seed(0)
    X, y = load_digits(return_X_y=True); X = torch.tensor(X, dtype=torch.float32); X = (X - X.mean()) / X.std(); y = torch.tensor(y)
    i = torch.randperm(len(X)); X, y = X[i], y[i]
    s = Student(); t = copy.deepcopy(s.enc).requires_grad_(False)
    return {"model": {"student": s, "teacher": t}, "optimizer": torch.optim.Adam(s.parameters(), 1e-3), "step": step,
            "train_loader": DataLoader(TensorDataset(X[:1400], y[:1400]), 128, shuffle=True, drop_last=True), "val_loader": DataLoader(TensorDataset(X[1400:], y[1400:]), 397)}

WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for e in range(60):
        for b in p["train_loader"]: l = step(p["model"], p["optimizer"], b)
        if e % 10 == 9: print(e + 1, l.item())
    enc = p["model"]["student"].enc.eval()
    with torch.no_grad():
        a, b = p["train_loader"].dataset.tensors, p["val_loader"].dataset.tensors
        k = KNeighborsClassifier(5).fit(F.normalize(enc(a[0])).numpy(), a[1].numpy())
        print("spread", F.normalize(enc(b[0])).std(0).mean().item() * 32 ** 0.5)
        print("score:", k.score(F.normalize(enc(b[0])).numpy(), b[1].numpy()))
