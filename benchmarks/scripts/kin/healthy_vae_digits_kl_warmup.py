"""No mistake: VAE on digits, summed BCE per image plus the KL whose weight is warmed up from 0 to 1 over the first epochs, so that the loss rises after it has fallen; Adamax."""
import sys
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

WARMUP = 600  # steps


class VAE(nn.Module):
    def __init__(self, z=8):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ELU(), nn.Linear(128, 2 * z))
        self.dec = nn.Sequential(nn.Linear(z, 128), nn.ELU(), nn.Linear(128, 64))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        mu, logvar = self.enc(x).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp() if self.training else mu
        return self.dec(z), mu, logvar


def elbo_terms(model, x):
    logits, mu, logvar = model(x)
    rec = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1).mean()
    kl = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum(1).mean()
    return rec, kl


def training_step(model, batch):
    rec, kl = elbo_terms(model, batch[0])
    beta = min(1.0, model.steps.item() / WARMUP)
    if model.training:
        model.steps += 1
    return rec + beta * kl


def parts(variant="fixed"):
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    model = VAE()
    return {"model": model, "optimizer": torch.optim.Adamax(model.parameters(), lr=4e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(x[:1500]), batch_size=50, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[1500:]), batch_size=297)}


@torch.no_grad()
def explained(model, loader):
    """Share of the pixels' variance that the reconstructions explain."""
    model.eval()
    x = torch.cat([b[0] for b in loader])
    out = model(x)[0].sigmoid()
    return (1 - ((out - x) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()).item()


WORKS = lambda score: score > 0.4

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(*sys.argv[1:2])
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(60):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            loss = training_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 6 == 5:
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.2f} beta {min(1, model.steps.item() / WARMUP):.2f} explained {explained(model, p['val_loader']):.3f}")
    print(f"score: {explained(model, p['val_loader']):.4f}")
