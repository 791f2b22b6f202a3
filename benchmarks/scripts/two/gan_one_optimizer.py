"""GAN on 2-D points: one optimizer holds the parameters of both nets, so the generator's step also teaches the discriminator to call fakes real (and the other way round); change: one optimizer each."""
import sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

bce = nn.BCEWithLogitsLoss()

def real_points(n, seed):
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 2, generator=g)
    return z @ torch.tensor([[0.8, 0.3], [0.0, 0.4]]) + torch.tensor([3.0, -2.0])

def mlp(i, o, h=48):
    return nn.Sequential(nn.Linear(i, h), nn.LeakyReLU(0.2), nn.Linear(h, h), nn.LeakyReLU(0.2), nn.Linear(h, o))

def step(model, optimizer, batch):
    G, D = model["G"], model["D"]
    x, = batch
    both = not isinstance(optimizer, dict)
    opt_d, opt_g = (optimizer, optimizer) if both else (optimizer["D"], optimizer["G"])
    ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
    # discriminator
    fake = G(torch.randn(len(x), 4))
    opt_d.zero_grad()
    d_loss = bce(D(x), ones) + bce(D(fake), zeros)
    d_loss.backward()
    opt_d.step()
    # generator
    opt_g.zero_grad()
    g_loss = bce(D(G(torch.randn(len(x), 4))), ones)
    g_loss.backward()
    opt_g.step()
    return d_loss + g_loss

def parts(variant):
    torch.manual_seed(0)
    G, D = mlp(4, 2), mlp(2, 1)
    kw = dict(lr=1e-3, betas=(0.5, 0.99))
    if variant == "fixed":
        opt = {"G": torch.optim.Adam(G.parameters(), **kw), "D": torch.optim.Adam(D.parameters(), **kw)}
    else:
        opt = torch.optim.Adam(list(G.parameters()) + list(D.parameters()), **kw)
    return dict(model={"G": G, "D": D}, optimizer=opt, step=step,
                train_loader=DataLoader(TensorDataset(real_points(4000, 0)), 64, shuffle=True, drop_last=True),
                val_loader=DataLoader(TensorDataset(real_points(1000, 1)), 250))

WORKS = lambda score: score < 0.8      # distance of the means plus distance of the standard deviations

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for ep in range(25):
        for b in p["train_loader"]:
            loss = step(p["model"], p["optimizer"], b)
        if ep % 5 == 4: print("epoch", ep + 1, "D+G loss", loss.item())
    with torch.no_grad():
        f = p["model"]["G"](torch.randn(2000, 4))
    r = torch.cat([b[0] for b in p["val_loader"]])
    print("score:", ((f.mean(0) - r.mean(0)).norm() + (f.std(0) - r.std(0)).norm()).item())
