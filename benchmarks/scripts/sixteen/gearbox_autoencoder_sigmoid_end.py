"""Autoencoder of gearbox sensor readings for watching wear; bad: the decoder ends in a Sigmoid, copied from an image example, while the readings are standardised, so everything below 0 or above 1 is out of reach; change: the decoder ends in the linear layer."""
import sys
import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader


def readings(n=3500, seed=13):
    rng = np.random.default_rng(seed)
    speed = rng.uniform(600, 1800, n)
    load = rng.beta(2, 2, n)
    ambient = rng.normal(20, 6, n)
    noise = lambda s: rng.normal(0, s, n)
    oil = ambient + 0.02 * speed + 15 * load + noise(1)
    bearing1 = oil + 6 * load + noise(0.8)
    bearing2 = oil + 4 * load + 0.002 * speed + noise(0.8)
    current = 12 + 40 * load * speed / 1800 + noise(1)
    torque = 300 * load + noise(8)
    vib_x = 0.2 + (speed / 1800) ** 2 * (0.8 + 0.4 * load) + noise(0.04)
    vib_y = 0.15 + (speed / 1800) ** 2 * 0.9 + noise(0.04)
    pressure = 2 + 0.001 * speed - 0.02 * (oil - 50) + noise(0.05)
    return np.stack([speed, oil, bearing1, bearing2, current, torque, vib_x, vib_y, pressure, ambient], 1)


class Autoencoder(nn.Module):
    def __init__(self, n_features, latent, final):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_features, 32), nn.ReLU(), nn.Linear(32, latent))
        layers = [nn.Linear(latent, 32), nn.ReLU(), nn.Linear(32, n_features)]
        if final is not None:
            layers.append(final)
        self.decoder = nn.Sequential(*layers)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def parts(variant):
    torch.manual_seed(0)
    raw = readings()
    scaler = StandardScaler().fit(raw[:2800])
    data = torch.tensor(scaler.transform(raw), dtype=torch.float32)
    ae = Autoencoder(data.shape[1], 4, nn.Sigmoid() if variant == "bad" else None)
    mse = nn.MSELoss()

    def training_step(model, x):
        return mse(model(x), x)

    return dict(model=ae, optimizer=torch.optim.Adam(ae.parameters(), lr=2e-3, weight_decay=1e-5), training_step=training_step,
                train_loader=DataLoader(data[:2800], batch_size=64, shuffle=True), val_loader=DataLoader(data[2800:], batch_size=350))


WORKS = lambda score: score > 0.8  # explained share of the variance

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    ae, opt = p["model"], p["optimizer"]
    for epoch in range(25):
        ae.train()
        ls = []
        for x in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](ae, x)
            loss.backward()
            opt.step()
            ls.append(loss.item())
        if epoch % 3 == 0 or epoch == 24:
            print(f"epoch {epoch}: reconstruction {np.mean(ls):.4f}")
    ae.eval()
    with torch.no_grad():
        x = torch.cat(list(p["val_loader"]))
        score = 1 - ((ae(x) - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item()
    print(f"score: {score:.4f}")
