"""VQ autoencoder on digits: the decoder gets the code vectors without the straight-through term, so the encoder never hears of the reconstruction; change: q = z + (q - z).detach()."""
import sys, torch
import torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits

class VQ(nn.Module):
    def __init__(self, n_codes=16, dim=4, slots=6, straight=False):
        super().__init__()
        self.codebook = nn.Embedding(n_codes, dim); nn.init.uniform_(self.codebook.weight, -0.5, 0.5)
        self.enc = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, dim * slots))
        self.dec = nn.Sequential(nn.Linear(dim * slots, 128), nn.ReLU(), nn.Linear(128, 64))
        self.dim, self.slots, self.straight = dim, slots, straight
    def forward(self, x):
        z = self.enc(x).view(-1, self.slots, self.dim)
        idx = (z.unsqueeze(2) - self.codebook.weight).pow(2).sum(-1).argmin(-1)
        q = self.codebook(idx)
        aux = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        if self.straight:
            q = z + (q - z).detach()
        return self.dec(q.flatten(1)), aux

def training_step(model, batch):
    x, = batch
    rec, aux = model(x)
    return F.mse_loss(rec, x) + aux

def parts(variant):
    torch.manual_seed(0)
    X = torch.tensor(load_digits().data, dtype=torch.float32) / 16; X = X[torch.randperm(len(X))]
    m = VQ(straight=variant == "fixed")
    return dict(model=m, optimizer=torch.optim.Adam(m.parameters(), 2e-3), training_step=training_step,
                train_loader=DataLoader(TensorDataset(X[:1500]), 50, shuffle=True), val_loader=DataLoader(TensorDataset(X[1500:]), 100))

WORKS = lambda s: s < 0.6      # error against that of the mean digit

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad"); m = p["model"]
    for e in range(40):
        for b in p["train_loader"]:
            l = training_step(m, b); p["optimizer"].zero_grad(); l.backward(); p["optimizer"].step()
        if e % 10 == 9: print(e + 1, l.item())
    V = torch.cat([b[0] for b in p["val_loader"]])
    with torch.no_grad(): print("score:", (F.mse_loss(m(V)[0], V) / F.mse_loss(V.mean(0).expand_as(V), V)).item())
