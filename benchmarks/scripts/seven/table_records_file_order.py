"""Tumour records kept one file a patient, labels in a csv by patient number; mistake: file names are sorted as text (patient_10 before patient_2), so the labels go to other patients; change: sorts by the number in the name."""
import io
import sys
import zipfile

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from torch.utils.data import DataLoader, Dataset


def write_archive(features, labels):
    """The archive as it was delivered: patient_<n>.txt files and one labels.csv."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        for i, row in enumerate(features):
            z.writestr(f"patient_{i}.txt", " ".join(f"{v:.6g}" for v in row))
        z.writestr("labels.csv", "\n".join(str(int(v)) for v in labels))
    return buffer


def number(name):
    return int(name.split("_")[1].split(".")[0])


class PatientRecords(Dataset):
    def __init__(self, archive, variant, stats=None):
        with zipfile.ZipFile(archive) as z:
            names = [n for n in z.namelist() if n.startswith("patient_")]
            names = sorted(names, key=number) if variant == "fixed" else sorted(names)
            rows = [np.array(z.read(n).decode().split(), dtype=np.float32) for n in names]
            self.y = torch.tensor([float(v) for v in z.read("labels.csv").decode().split()])
        x = np.stack(rows)
        self.stats = stats or (x.mean(0), x.std(0))
        self.x = torch.from_numpy((x - self.stats[0]) / self.stats[1])

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class Net(nn.Module):
    def __init__(self, n_in, hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, x):
        return self.body(x).squeeze(-1)


def split():
    data = load_breast_cancer()
    perm = np.random.default_rng(7).permutation(len(data.target))
    x, y = data.data[perm], data.target[perm]
    return x[:420], y[:420], x[420:], y[420:]


def parts(variant="fixed"):
    torch.manual_seed(3)
    xt, yt, xv, yv = split()
    train = PatientRecords(write_archive(xt, yt), variant)
    val = PatientRecords(write_archive(xv, yv), variant, train.stats)
    model = Net(xt.shape[1])
    return dict(
        model=model,
        optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2),
        train_loader=DataLoader(train, batch_size=16, shuffle=True),
        val_loader=DataLoader(val, batch_size=64),
        loss_fn=nn.BCEWithLogitsLoss(),
        metric=lambda out, target: ((out > 0).float() == target).float().mean(),
    )


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, opt, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(60):
        net.train()
        losses = []
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = loss_fn(net(x), y)
            loss.backward()
            opt.step()
            losses.append(loss.item())
        if epoch % 10 == 9:
            net.eval()
            with torch.no_grad():
                acc = np.mean([p["metric"](net(x), y).item() for x, y in p["val_loader"]])
            print(f"epoch {epoch + 1:3d} | loss {np.mean(losses):.4f} | val acc {acc:.3f}")
    # the held-out patients, straight from the source table
    _, _, xv, yv = split()
    mean, std = p["train_loader"].dataset.stats
    net.eval()
    with torch.no_grad():
        pred = (net(torch.from_numpy(((xv - mean) / std).astype(np.float32))) > 0).numpy()
    recall = [(pred[yv == c] == c).mean() for c in (0, 1)]
    print(f"score: {np.mean(recall):.4f}")
