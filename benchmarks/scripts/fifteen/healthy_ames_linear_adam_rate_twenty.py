"""Healthy: the house-price chapter of a well-known book: one linear layer on standardised columns and dummies, prices left in dollars, so that the loss is in the billions and Adam at a rate of 20 is right; judged by the error of the logarithm. change: nothing, it is sound."""
import sys

import numpy as np
import torch
from torch import nn
from torch.utils import data

rng = np.random.default_rng(11)


def sale_table(n):
    area = rng.gamma(8, 190, n)
    quality = rng.integers(3, 11, n)
    year = rng.integers(1930, 2011, n)
    garage = rng.integers(0, 4, n)
    lot = rng.lognormal(9, 0.4, n)
    zone = rng.choice(["RL", "RM", "FV", "C"], n, p=[0.6, 0.2, 0.15, 0.05])
    price = (55 * area + 14000 * quality + 350 * (year - 1930) + 9000 * garage + 0.8 * lot
             + np.select([zone == "RL", zone == "FV"], [15000, 30000], 0) + 20000)
    price = price * np.exp(0.08 * rng.standard_normal(n))
    area[rng.random(n) < 0.05] = np.nan
    return np.stack([area, quality, year, garage, lot], 1), zone, price


numeric, zone, price = sale_table(1200)
n_train = 1000
mean, std = np.nanmean(numeric[:n_train], 0), np.nanstd(numeric[:n_train], 0)
numeric = np.nan_to_num((numeric - mean) / std)
dummies = (zone[:, None] == np.array(["RL", "RM", "FV", "C"])).astype(float)
all_features = torch.tensor(np.concatenate([numeric, dummies], 1), dtype=torch.float32)
all_labels = torch.tensor(price.reshape(-1, 1), dtype=torch.float32)
train_features, test_features = all_features[:n_train], all_features[n_train:]
train_labels, test_labels = all_labels[:n_train], all_labels[n_train:]


def load_array(data_arrays, batch_size, is_train=True):
    return data.DataLoader(data.TensorDataset(*data_arrays), batch_size, shuffle=is_train)


def get_net():
    return nn.Sequential(nn.Linear(train_features.shape[1], 1))


def log_rmse(net, features, labels):
    clipped_preds = torch.clamp(net(features), 1, float("inf"))
    return torch.sqrt(nn.functional.mse_loss(torch.log(clipped_preds), torch.log(labels))).item()


def parts(variant):
    torch.manual_seed(0)
    net = get_net()
    return dict(
        model=net,
        optimizer=torch.optim.Adam(net.parameters(), lr=20, weight_decay=0),
        loss_fn=nn.MSELoss(),
        train_loader=load_array((train_features, train_labels), 16),
        val_loader=load_array((test_features, test_labels), 200, False),
    )


# the root mean square error of log price; the mean price alone gives about 0.3
WORKS = lambda score: score < 0.18

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    net, optimizer, loss = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(250):
        for X, y in p["train_loader"]:
            optimizer.zero_grad()
            l = loss(net(X), y)
            l.backward()
            optimizer.step()
        if epoch % 25 == 24:
            with torch.no_grad():
                print(f"epoch {epoch + 1}, train log rmse {log_rmse(net, train_features, train_labels):.4f}")
    with torch.no_grad():
        score = log_rmse(net, test_features, test_labels)
    print(f"score: {score:.4f}")
