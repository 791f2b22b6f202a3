"""Which crop for a field (soil and weather columns, 8 crops), a wide tanh MLP; bad: an init function with nn.init.uniform_(m.weight), which draws from 0 to 1, so every unit is saturated with the same sign; change: xavier_uniform_."""
import sys
import numpy as np
import torch
import torch.nn as nn
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset


def fields(n=3200, seed=21):
    rs = np.random.RandomState(seed)
    y = rs.randint(0, 8, n)
    base = rs.uniform([10, 5, 10, 12, 30, 5.2, 40], [110, 90, 80, 32, 90, 7.6, 260], (8, 7))
    spread = np.array([12, 10, 9, 2.5, 7, 0.4, 28])
    return base[y] + rs.randn(n, 7) * spread, y


class CropNet(nn.Module):
    def __init__(self, n_in=7, width=256, n_out=8):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(n_in, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, width), nn.Tanh(),
            nn.Linear(width, n_out))

    def forward(self, x):
        return self.net(x)


def parts(variant):
    torch.manual_seed(0)
    X, y = fields()
    Xa, Xb, ya, yb = train_test_split(X, y, test_size=700, stratify=y, random_state=1)
    sc = StandardScaler()
    Xa, Xb = sc.fit_transform(Xa), sc.transform(Xb)

    def init_weights(m):
        if isinstance(m, nn.Linear):
            if variant == "bad":
                nn.init.uniform_(m.weight)
            else:
                nn.init.xavier_uniform_(m.weight)
            nn.init.zeros_(m.bias)

    model = CropNet()
    model.apply(init_weights)
    opt = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    f = lambda a, b: TensorDataset(torch.as_tensor(a, dtype=torch.float32), torch.as_tensor(b))
    return {"model": model, "optimizer": opt, "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(f(Xa, ya), batch_size=50, shuffle=True), "val_loader": DataLoader(f(Xb, yb), batch_size=350)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        model.train()
        losses = []
        for X, y in p["train_loader"]:
            logits = model(X)
            loss = loss_fn(logits, y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
        print("epoch", epoch, "loss", round(float(np.mean(losses)), 4))
    model.eval()
    with torch.no_grad():
        acc = torch.cat([(model(X).argmax(1) == y).float() for X, y in p["val_loader"]]).mean()
    score = acc.item()
    print(f"score: {score:.4f}")
