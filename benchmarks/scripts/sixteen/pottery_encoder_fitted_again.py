"""Provenance of pottery sherds from their chemistry (kiln site names as labels); bad: LabelEncoder.fit_transform is called for training and again for validation, where two of the sites do not occur, so the numbers are others; change: transform for validation."""
import sys
import numpy as np
import torch
from sklearn.preprocessing import LabelEncoder, StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SITES = ["Arezzo", "Banassac", "Colchester", "La Graufesenque", "Lezoux", "Rheinzabern", "Trier", "Westerndorf"]
OXIDES = ["SiO2", "Al2O3", "Fe2O3", "CaO", "MgO", "K2O", "TiO2", "Na2O"]


def sherds():
    rng = np.random.default_rng(41)
    mean = np.array([60, 18, 6, 6, 2.5, 3, 0.9, 1.0])
    site_mean = mean * np.exp(rng.normal(0, 0.18, (8, 8)))

    def draw(names, n):
        lab = rng.choice(names, n)
        k = np.array([SITES.index(s) for s in lab])
        return site_mean[k] * np.exp(rng.normal(0, 0.12, (n, 8))), lab

    museum = draw(SITES, 1600)
    dig = draw(SITES[2:], 300)
    return museum, dig


class SherdClassifier(nn.Module):
    def __init__(self, n_features, n_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_features, 40), nn.BatchNorm1d(40), nn.ReLU(), nn.Dropout(0.2), nn.Linear(40, 40), nn.ReLU())
        self.head = nn.Linear(40, n_classes)

    def forward(self, x):
        return self.head(self.body(x))


def parts(variant):
    torch.manual_seed(0)
    (X_train, s_train), (X_val, s_val) = sherds()
    scaler = StandardScaler()
    X_train = scaler.fit_transform(np.log(X_train))
    X_val = scaler.transform(np.log(X_val))
    le = LabelEncoder()
    y_train = le.fit_transform(s_train)
    n_classes = len(le.classes_)
    y_val = le.fit_transform(s_val) if variant == "bad" else le.transform(s_val)
    pack = lambda X, y: TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.long))
    model = SherdClassifier(len(OXIDES), n_classes)
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(pack(X_train, y_train), batch_size=40, shuffle=True),
                val_loader=DataLoader(pack(X_val, y_val), batch_size=100))


WORKS = lambda score: score > 0.7

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, crit = p["model"], p["optimizer"], p["loss_fn"]

    def run(loader, train):
        model.train(train)
        loss_sum = hits = n = 0
        with torch.set_grad_enabled(train):
            for x, y in loader:
                out = model(x)
                loss = crit(out, y)
                if train:
                    opt.zero_grad()
                    loss.backward()
                    opt.step()
                loss_sum += loss.item() * len(y)
                hits += (out.argmax(1) == y).sum().item()
                n += len(y)
        return loss_sum / n, hits / n

    for epoch in range(25):
        tl, ta = run(p["train_loader"], True)
        vl, score = run(p["val_loader"], False)
        print(f"{epoch:2d} train {tl:.3f} ({ta:.1%})  val {vl:.3f} ({score:.1%})")
    print(f"score: {score:.4f}")
