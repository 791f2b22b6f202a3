"""VAE of digits: the KL term is summed over the batch but the reconstruction is averaged over pixels, so KL rules and every picture comes out the same; change: both summed."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits


class VAE(nn.Module):
    def __init__(self, latent=8):
        super(VAE, self).__init__()
        self.fc1 = nn.Linear(64, 128)
        self.fc21 = nn.Linear(128, latent)
        self.fc22 = nn.Linear(128, latent)
        self.fc3 = nn.Linear(latent, 128)
        self.fc4 = nn.Linear(128, 64)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        return mu + torch.randn_like(std) * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = self.reparameterize(mu, logvar) if self.training else mu
        return self.decode(z), mu, logvar


def vae_loss(reduction):
    def loss_function(output, x):
        recon_x, mu, logvar = output
        BCE = F.binary_cross_entropy(recon_x, x, reduction=reduction)
        KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        return BCE + KLD
    return loss_function


def parts(variant):
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(3))]
    model = VAE()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3),
            "loss_fn": vae_loss("mean" if variant == "bad" else "sum"),
            "train_loader": DataLoader(TensorDataset(x[:1500], x[:1500]), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1500:], x[1500:]), batch_size=297)}


WORKS = lambda score: score > 0.3


@torch.no_grad()
def explained(model, loader):
    model.eval()
    x, _ = next(iter(loader))
    rec = model(x)[0]
    return (1 - (rec - x).pow(2).sum() / (x - x.mean(0)).pow(2).sum()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 41):
        model.train()
        train_loss = 0
        for data, target in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(data), target)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        if epoch % 4 == 0:
            print('====> Epoch: {} Average loss: {:.4f}  explained: {:.3f}'.format(epoch, train_loss / len(p["train_loader"].dataset), explained(model, p["val_loader"])))
    print(f"score: {explained(model, p['val_loader']):.4f}")
