"""VAE of plankton silhouettes (ellipses with spikes); the heads for the mean and the log-variance both pass through the ReLU of the other layers, so no mean is below zero and no variance below one. change: no ReLU on the two heads."""
import sys
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def silhouettes(n, seed):
    r = np.random.RandomState(seed)
    yy, xx = np.mgrid[-1:1:16j, -1:1:16j]
    out = np.zeros((n, 256), np.float32)
    for i in range(n):
        a, b, t = r.uniform(0.25, 0.8), r.uniform(0.15, 0.5), r.uniform(0, np.pi)
        cx, cy = r.uniform(-0.3, 0.3, 2)
        u = (xx - cx) * np.cos(t) + (yy - cy) * np.sin(t)
        v = -(xx - cx) * np.sin(t) + (yy - cy) * np.cos(t)
        d = (u / a) ** 2 + (v / b) ** 2
        out[i] = (1 / (1 + np.exp(8 * (d - 1)))).ravel()
    return torch.tensor(out)


class VAE(nn.Module):
    def __init__(self, variant, z=8):
        super().__init__()
        self.fc1 = nn.Linear(256, 128)
        self.fc21, self.fc22 = nn.Linear(128, z), nn.Linear(128, z)
        self.fc3, self.fc4 = nn.Linear(z, 128), nn.Linear(128, 256)
        self.head = F.relu if variant == "bad" else nn.Identity()

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.head(self.fc21(h)), self.head(self.fc22(h))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar) if self.training else mu
        return self.fc4(F.relu(self.fc3(z))), mu, logvar


def elbo(output, target):
    logits, mu, logvar = output
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return (bce + kld) / len(target)


def parts(variant):
    torch.manual_seed(0)
    X, V = silhouettes(2500, 0), silhouettes(500, 1)
    model = VAE(variant)
    return {"model": model, "loss_fn": elbo, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "train_loader": DataLoader(TensorDataset(X, X), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(V, V), batch_size=250)}


def evaluate(model, loader):
    model.eval()
    with torch.no_grad():
        x = torch.cat([b[0] for b in loader])
        rec = torch.sigmoid(model(x)[0])
    return 1 - ((rec - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(25):
        p["model"].train()
        total = 0
        for x, y in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](x), y)
            loss.backward()
            p["optimizer"].step()
            total += loss.item() * len(x)
        print(f"====> Epoch {epoch} average loss {total / 2500:.3f}")
    score = evaluate(p["model"], p["val_loader"])
    print(f"score: {score:.4f}")
