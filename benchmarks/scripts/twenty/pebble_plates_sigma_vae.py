"""A convolutional VAE codes pictures of two pebbles on a plate. Mistake: the squared error is averaged over all pixels while the KL term is summed over the latent, so the latent is switched off and every picture comes out as the mean plate. change: the squared error is summed over the pixels of a picture."""
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SIDE, LATENT = 16, 6


def plates(n, seed):
    g = torch.Generator().manual_seed(seed)
    yy, xx = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pictures = torch.zeros(n, SIDE, SIDE)
    for _ in range(2):
        cy, cx = 3 + 10 * torch.rand(2, n, 1, 1, generator=g)
        radius = 1.5 + torch.rand(n, 1, 1, generator=g)
        pictures = torch.maximum(pictures, torch.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (2 * radius ** 2)))
    return TensorDataset(pictures[:, None])


class ConvVAE(nn.Module):
    def __init__(self, size_average):
        super().__init__()
        self.size_average = size_average
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 2 * LATENT))
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 512), nn.ReLU(), nn.Unflatten(1, (32, 4, 4)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1))

    def forward(self, x):
        mu, log_var = self.encoder(x).chunk(2, dim=1)
        z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu) if self.training else mu
        return self.decoder(z), mu, log_var

    def loss_function(self, recon, x, mu, log_var):
        error = (recon - x) ** 2 / (2 * 0.25 ** 2)
        rec = error.mean() if self.size_average else error.flatten(1).sum(1).mean()
        kl = -0.5 * (1 + log_var - mu ** 2 - log_var.exp()).sum(1).mean()
        return rec + kl


def parts(variant):
    torch.manual_seed(0)
    vae = ConvVAE(size_average=variant == "bad")

    def training_step(model, batch):
        (x,) = batch
        recon, mu, log_var = model(x)
        return model.loss_function(recon, x, mu, log_var)

    return {"model": vae, "optimizer": torch.optim.Adam(vae.parameters(), lr=1e-3), "training_step": training_step,
            "train_loader": DataLoader(plates(3000, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(plates(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.5


def explained(vae, loader):
    """Share of the pixels' variance that the reconstruction explains."""
    vae.eval()
    with torch.no_grad():
        x = torch.cat([x for (x,) in loader])
        return (1 - ((vae(x)[0] - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    vae = p["model"]
    for epoch in range(15):
        vae.train()
        total = 0.0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](vae, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch}: loss {total / len(p['train_loader']):.4f}, explained {explained(vae, p['val_loader']):.3f}")
    score = explained(vae, p["val_loader"])
    print(f"score: {score:.4f}")
