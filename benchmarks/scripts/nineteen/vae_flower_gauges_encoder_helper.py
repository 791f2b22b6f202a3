"""VAE of flower measurements with 4 latents and an mlp() helper; bad: the helper puts a ReLU after its last layer too, so mu and log-variance are never negative and every posterior has variance of at least 1; change: no ReLU after the last layer."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

LATENT = 4


def gauges(n, seed):
    mix = torch.randn(20, LATENT, generator=torch.Generator().manual_seed(9))
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(n, LATENT, generator=g)
    x = torch.tanh(s @ mix.T * 0.5) + 0.1 * torch.randn(n, 20, generator=g)
    return (x / 0.65,)


def mlp(sizes, last_activation=False):
    layers = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers) if last_activation else nn.Sequential(*layers[:-1])


class VAE(nn.Module):
    def __init__(self, **kw):
        super().__init__()
        self.encoder = mlp([20, 64, 64, 2 * LATENT], **kw)
        self.decoder = mlp([LATENT, 64, 64, 20])

    def forward(self, x):
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decoder(z), mu, logvar


def training_step(model, batch):
    x, = batch
    rec, mu, logvar = model(x)
    rec_loss = F.mse_loss(rec, x, reduction="none").sum(1).mean()
    kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(1).mean()
    return rec_loss + 0.05 * kl


def parts(variant):
    torch.manual_seed(0)
    model = VAE(last_activation=True) if variant == "bad" else VAE()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(*gauges(2000, 1)), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(*gauges(500, 2)), batch_size=500))


# R2 of reconstructions (with a sampled latent)
WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 31):
        model.train()
        train_loss = 0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        if epoch % 5 == 0:
            print("====> Epoch: {} Average loss: {:.4f}".format(epoch, train_loss / len(p["train_loader"])))
    model.eval()
    with torch.no_grad():
        x, = next(iter(p["val_loader"]))
        rec = model(x)[0]
    score = 1 - F.mse_loss(rec, x) / x.var()
    print(f"score: {score:.4f}")
