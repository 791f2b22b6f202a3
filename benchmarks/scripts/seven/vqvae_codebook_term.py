"""VQ-VAE on 8x8 digits; the codebook term is computed on the straight-through output, so the codebook never gets a gradient; change: `fixed` computes it on the looked-up vectors."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

N_TOKENS, DIM, K, BETA = 8, 8, 64, 0.25
EPOCHS = 60
WORKS = lambda score: score > 0.6          # explained variance of held-out reconstructions


class Quantizer(nn.Module):
    def __init__(self):
        super().__init__()
        self.codebook = nn.Embedding(K, DIM)
        nn.init.uniform_(self.codebook.weight, -1 / K, 1 / K)

    def forward(self, z):
        flat = z.reshape(-1, DIM)
        idx = torch.cdist(flat, self.codebook.weight).argmin(1)
        looked_up = self.codebook(idx).view_as(z)
        z_q = z + (looked_up - z).detach()
        return z_q, looked_up, idx.view(z.shape[:-1])


class VQVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, N_TOKENS * DIM))
        self.vq = Quantizer()
        self.dec = nn.Sequential(nn.Linear(N_TOKENS * DIM, 256), nn.ReLU(), nn.Linear(256, 64))

    def forward(self, x):
        z = self.enc(x).view(-1, N_TOKENS, DIM)
        z_q, looked_up, idx = self.vq(z)
        return self.dec(z_q.flatten(1)), z, z_q, looked_up, idx


def parts(variant):
    torch.manual_seed(0)
    x = torch.tensor(load_digits().data, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x))]
    train_loader = DataLoader(TensorDataset(x[:1400]), batch_size=64, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[1400:]), batch_size=256)
    model = VQVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def training_step(model, batch):
        (x,) = batch
        recon, z, z_q, looked_up, _ = model(x)
        code = z_q if variant == "bad" else looked_up
        codebook_loss = F.mse_loss(code, z.detach())
        commit_loss = F.mse_loss(z, looked_up.detach())
        return F.mse_loss(recon, x) + codebook_loss + BETA * commit_loss

    return dict(model=model, optimizer=optimizer, train_loader=train_loader, val_loader=val_loader,
                training_step=training_step)


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    err = tot = 0.0
    used = set()
    for (x,) in loader:
        recon, *_, idx = model(x)
        err += (recon - x).pow(2).sum().item()
        tot += (x - x.mean(0)).pow(2).sum().item()
        used |= set(idx.flatten().tolist())
    model.train()
    return 1 - err / tot, len(used)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            optimizer.step()
            total += loss.item()
        if epoch % 10 == 9:
            ev, used = evaluate(model, p["val_loader"])
            print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}  val EV {ev:.3f}  codes used {used}")
    print("score:", round(evaluate(model, p["val_loader"])[0], 4))
