"""MLP autoencoder with a six-number code for temperature profiles of weather balloons. Sound: ordinary; the profiles have the mean of the training set at each height taken off and one common scale, the score is the explained variance on held-out balloons."""
import sys
import numpy as np
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


def soundings(n, rng):
    z = np.linspace(0, 16, 80)[None]                         # km
    ground = rng.normal(14, 7, (n, 1))
    lapse = rng.normal(6.3, 0.6, (n, 1))
    tropo = rng.normal(11, 1.0, (n, 1))
    inv_h, inv_s = rng.uniform(0.5, 4, (n, 1)), rng.gamma(2, 1.2, (n, 1))
    temp = ground - lapse * np.minimum(z, tropo) + 0.6 * np.maximum(z - tropo, 0)
    temp += inv_s * np.exp(-((z - inv_h) / 0.7) ** 2)
    return (temp + rng.normal(0, 0.4, temp.shape)).astype(np.float32)


class ProfileAutoencoder(nn.Module):
    def __init__(self, levels=80, code=6):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(levels, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, code))
        self.decoder = nn.Sequential(nn.Linear(code, 32), nn.ReLU(), nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, levels))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def parts(variant):
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    train, test = soundings(3000, rng), soundings(600, rng)
    mean = train.mean(0)
    scale = (train - mean).std()
    tr, te = torch.from_numpy((train - mean) / scale), torch.from_numpy((test - mean) / scale)
    model = ProfileAutoencoder()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(tr, tr), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(te, te), batch_size=200),
            "metric": lambda out, y: nn.functional.mse_loss(out, y).item()}


WORKS = lambda score: score > 0.96

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    ae, opt = p["model"], p["optimizer"]
    for epoch in range(24):
        ae.train()
        run = 0.0
        for x, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](ae(x), target)
            loss.backward()
            opt.step()
            run += loss.item()
        if epoch % 8 == 7:
            print(f"epoch {epoch + 1}  train mse {run / len(p['train_loader']):.4f}")
    ae.eval()
    num = den = 0.0
    with torch.no_grad():
        for x, target in p["val_loader"]:
            num += ((ae(x) - target) ** 2).sum().item()
            den += (target ** 2).sum().item()
    print("score:", 1 - num / den)
