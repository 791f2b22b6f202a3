"""Sound: variational autoencoder of the 8 x 8 digits, sum of pixel cross-entropy and KL per image with a warm-up of the KL weight; the loss is a large number and ends well above zero; variant is ignored. change: none."""
import sys
import torch
from torch import nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


class DigitVAE(nn.Module):
    def __init__(self, hidden=128, latent=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU())
        self.mu = nn.Linear(hidden, latent)
        self.logvar = nn.Linear(hidden, latent)
        self.dec = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 64))

    def forward(self, x):
        h = self.enc(x)
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu) if self.training else mu
        return self.dec(z).view_as(x), mu, logvar


class ELBO:
    def __init__(self, warmup_steps=300, beta=1.0):
        self.warmup_steps, self.beta, self.t = warmup_steps, beta, 0

    def __call__(self, model, batch):
        images, _ = batch
        logits, mu, logvar = model(images)
        recon = F.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
        if model.training:
            self.t += 1
        weight = self.beta * min(1.0, self.t / self.warmup_steps)
        return (recon + weight * kl) / len(images)


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(digits.target)
    shuffled = torch.randperm(len(x))
    x, y = x[shuffled], y[shuffled]
    model = DigitVAE()
    return {"model": model,
            "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
            "training_step": ELBO(),
            "train_loader": DataLoader(TensorDataset(x[:1400], y[:1400]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1400:], y[1400:]), batch_size=100)}


WORKS = lambda score: score > 0.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    vae, opt = p["model"], p["optimizer"]
    for epoch in range(40):
        vae.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](vae, batch)
            loss.backward()
            opt.step()
            total += loss.item() * len(batch[0])
        if epoch % 5 == 0:
            print(f"epoch {epoch}: -ELBO {total / 1400:.3f}")
    vae.eval()
    images = p["val_loader"].dataset.tensors[0]
    with torch.no_grad():
        decoded = torch.cat([torch.sigmoid(vae(x)[0]) for x, _ in p["val_loader"]])
    spread = ((images - images.mean(0)) ** 2).mean()
    score = 1 - (((decoded - images) ** 2).mean() / spread).item()
    print(f"score: {score:.4f}")
