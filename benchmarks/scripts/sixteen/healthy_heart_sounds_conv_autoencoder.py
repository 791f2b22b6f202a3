"""Convolutional autoencoder on windows of normal heart sounds, a few clipped and a few silent; trained on normal ones, scored by how well the reconstruction error tells murmurs; sound; change: none."""
import sys
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def beats(n, seed, murmur=0.0):
    rng = np.random.default_rng(seed)
    t = np.arange(256)
    x = np.zeros((n, 256))
    sick = rng.random(n) < murmur
    for i in range(n):
        start = rng.integers(10, 50)
        gap = rng.integers(70, 95)
        for c, a, f in ((start, 1.0, 0.35), (start + gap, 0.7, 0.5), (start + 2 * gap, 1.0, 0.35)):
            x[i] += a * np.exp(-((t - c) / 7) ** 2) * np.sin(f * (t - c))
        if sick[i]:
            env = np.exp(-((t - start - gap / 2) / 18) ** 2)
            x[i] += env * rng.normal(0, 0.5, 256)
        x[i] *= rng.uniform(0.6, 1.4)
    x += rng.normal(0, 0.04, x.shape)
    clipped = rng.random(n) < 0.02
    x[clipped] = np.clip(x[clipped], -0.5, 0.5)
    if murmur == 0:
        x[rng.random(n) < 0.01] = 0.0
    return torch.tensor(x / 0.3, dtype=torch.float32)[:, None], torch.tensor(sick)


class HeartAE(nn.Module):
    def __init__(self, latent=24):
        super().__init__()
        self.enc = nn.Sequential(
            nn.Conv1d(1, 16, 9, stride=4, padding=4), nn.ELU(),
            nn.Conv1d(16, 32, 9, stride=4, padding=4), nn.ELU(),
            nn.Flatten(), nn.Linear(32 * 16, latent))
        self.dec_in = nn.Linear(latent, 32 * 16)
        self.dec = nn.Sequential(
            nn.ELU(), nn.ConvTranspose1d(32, 16, 8, stride=4, padding=2), nn.ELU(),
            nn.ConvTranspose1d(16, 1, 8, stride=4, padding=2))

    def forward(self, x):
        return self.dec(self.dec_in(self.enc(x)).view(-1, 32, 16))


def parts(variant):
    torch.manual_seed(0)
    train, _ = beats(2000, 0)
    val, sick = beats(400, 1, murmur=0.15)
    model = HeartAE()
    return dict(model=model, optimizer=torch.optim.AdamW(model.parameters(), lr=2e-3),
                training_step=lambda m, batch: nn.functional.mse_loss(m(batch[0]), batch[0]),
                train_loader=DataLoader(TensorDataset(train), batch_size=64, shuffle=True),
                val_loader=DataLoader(TensorDataset(val, sick), batch_size=100))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(20):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1:02d} mse {total / len(p['train_loader']):.4f}")
    model.eval()
    err, lab = [], []
    with torch.no_grad():
        for x, sick in p["val_loader"]:
            err.append(((model(x) - x) ** 2).mean((1, 2)))
            lab.append(sick)
    score = roc_auc_score(torch.cat(lab).numpy(), torch.cat(err).numpy())
    print(f"score: {score:.4f}")
