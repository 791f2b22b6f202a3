"""VAE of digits: the reconstruction error is a mean over batch and pixels, the KL a sum over both, so the posterior collapses and every reconstruction is the mean digit; change: `fixed` sums the reconstruction error too."""
import argparse
import torch
from torch import nn
from torch.nn import functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.4


class VAE(nn.Module):
    def __init__(self, latent=10):
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.fc21, self.fc22 = nn.Linear(128, latent), nn.Linear(128, latent)
        self.fc3, self.fc4 = nn.Linear(latent, 128), nn.Linear(128, 64)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar, reduction):
    bce = F.binary_cross_entropy(recon_x, x, reduction=reduction)
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + kld


def parts(variant):
    torch.manual_seed(1)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    train, test = DataLoader(TensorDataset(x[:1500]), batch_size=50, shuffle=True), DataLoader(TensorDataset(x[1500:]), batch_size=297)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    reduction = "sum" if variant == "fixed" else "mean"

    def training_step(model, batch):
        (data,) = batch
        recon, mu, logvar = model(data)
        return loss_function(recon, data, mu, logvar, reduction)

    return dict(model=model, optimizer=optimizer, train_loader=train, val_loader=test, training_step=training_step)


def explained(model, loader):
    model.eval()
    with torch.no_grad():
        (x,) = next(iter(loader))
        rec = model.decode(model.encode(x)[0])
    return (1 - ((rec - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()).item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("variant", nargs="?", default="fixed")
    ap.add_argument("--epochs", type=int, default=80)
    args = ap.parse_args()
    p = parts(args.variant)
    for epoch in range(1, args.epochs + 1):
        p["model"].train()
        train_loss = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            train_loss += loss.item()
            p["optimizer"].step()
        if epoch % 10 == 0:
            print(f"====> Epoch: {epoch} Average loss: {train_loss / len(p['train_loader']):.4f}")
    print("score: %.4f" % explained(p["model"], p["val_loader"]))
