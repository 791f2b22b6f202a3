"""Convolutional VAE on pictures of a blob; the reconstruction error is averaged over pixels while the KL term is summed over latents, so the KL term wins and the latent is ignored; change: `fixed` sums the reconstruction error over pixels."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

LATENT = 6
WORKS = lambda score: score > 0.6          # explained variance of held-out reconstructions


def blobs(n, g):
    yy, xx = torch.meshgrid(torch.arange(16.), torch.arange(16.), indexing="ij")
    c = torch.rand(n, 2, 1, 1, generator=g) * 10 + 3
    s = torch.rand(n, 1, 1, generator=g) * 1.5 + 1
    img = torch.exp(-((yy - c[:, 0]) ** 2 + (xx - c[:, 1]) ** 2) / (2 * s ** 2))
    return img[:, None].clamp(0, 1)


class ConvVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.Flatten())
        self.fc_mu = nn.Linear(512, LATENT)
        self.fc_logvar = nn.Linear(512, LATENT)
        self.fc_up = nn.Linear(LATENT, 512)
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, 2, 1), nn.Sigmoid())

    def encode(self, x):
        h = self.encoder(x)
        return self.fc_mu(h), self.fc_logvar(h)

    def decode(self, z):
        return self.decoder(F.relu(self.fc_up(z)).view(-1, 32, 4, 4))

    def forward(self, x):
        mu, logvar = self.encode(x)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        return self.decode(z), mu, logvar


def vae_loss(recon, x, mu, logvar, variant):
    recon_loss = F.binary_cross_entropy(recon, x, reduction="none")
    recon_loss = recon_loss.mean() if variant == "bad" else recon_loss.sum(dim=(1, 2, 3)).mean()
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=1).mean()
    return recon_loss + kld


def parts(variant):
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    train_loader = DataLoader(TensorDataset(blobs(4000, g)), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(blobs(500, g)), batch_size=250)
    model = ConvVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def training_step(model, batch):
        recon, mu, logvar = model(batch[0])
        return vae_loss(recon, batch[0], mu, logvar, variant)

    return dict(model=model, optimizer=optimizer, train_loader=train_loader, val_loader=val_loader,
                training_step=training_step)


def main(variant, epochs=12):
    p = parts(variant)
    model, opt = p["model"], p["optimizer"]
    for epoch in range(1, epochs + 1):
        model.train()
        running = 0.0
        for i, batch in enumerate(p["train_loader"]):
            loss = p["training_step"](model, batch)
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item()
        print(f"====> Epoch {epoch}: average loss {running / (i + 1):.4f}")
    model.eval()
    x = torch.cat([b[0] for b in p["val_loader"]])
    with torch.no_grad():
        recon = model.decode(model.encode(x)[0])
    print("score:", round(1 - ((recon - x) ** 2).sum().item() / ((x - x.mean(0)) ** 2).sum().item(), 4))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fixed")
