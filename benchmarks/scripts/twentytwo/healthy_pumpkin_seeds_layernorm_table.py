"""Three kinds of pumpkin seed from twelve shape measurements, LayerNorm and GELU with AdamW and a cosine that ends at rate zero; unusual only in that the last epochs barely move and the accuracy is bounded by overlapping classes."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
EPOCHS = 30


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.fc1 = nn.Linear(d, 2 * d)
        self.fc2 = nn.Linear(2 * d, d)
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        return x + self.drop(self.fc2(F.gelu(self.fc1(self.norm(x)))))


class SeedNet(nn.Module):
    def __init__(self, n_in, n_classes, d=48):
        super().__init__()
        self.stem = nn.Linear(n_in, d)
        self.blocks = nn.Sequential(Block(d), Block(d), Block(d))
        self.norm = nn.LayerNorm(d)
        self.head = nn.Linear(d, n_classes)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x))))


def accuracy(output, target):
    return (output.argmax(1) == target).float().mean().item()


def parts(variant):
    torch.manual_seed(11)
    X, y = make_classification(3000, n_features=12, n_informative=8, n_redundant=3, n_classes=3, n_clusters_per_class=2,
                               class_sep=1.4, flip_y=0.03, random_state=11)
    Xt, Xv, yt, yv = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(Xt)
    t = lambda a: torch.tensor(scaler.transform(a), dtype=torch.float32)
    train = TensorDataset(t(Xt), torch.tensor(yt))
    val = TensorDataset(t(Xv), torch.tensor(yv))
    model = SeedNet(12, 3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS)
    return {"model": model, "optimizer": optimizer, "scheduler": scheduler,
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(train, batch_size=64, shuffle=True, drop_last=True),
            "val_loader": DataLoader(val, batch_size=256), "metric": accuracy}


WORKS = lambda score: score > 0.87

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    net = p["model"]
    for epoch in range(EPOCHS):
        net.train()
        losses = []
        for xb, yb in p["train_loader"]:
            loss = p["loss_fn"](net(xb), yb)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            losses.append(loss.item())
        p["scheduler"].step()
        net.eval()
        with torch.no_grad():
            hits = sum((net(xb).argmax(1) == yb).sum().item() for xb, yb in p["val_loader"])
        acc = hits / len(p["val_loader"].dataset)
        print(f"epoch {epoch + 1}/{EPOCHS} loss {np.mean(losses):.4f} val acc {acc:.4f}")
    print("score:", acc)
