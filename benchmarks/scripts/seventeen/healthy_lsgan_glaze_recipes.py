"""Sound: least-squares GAN of glaze recipes (table of four oxides), generator first, judge second, judge frozen during the generator's step; nothing to change."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

MIX = torch.tensor([[1.0, 0.4, 0.0, -0.3], [0.0, 0.8, 0.5, 0.0], [0.0, 0.0, 0.6, 0.2], [0.0, 0.0, 0.0, 0.7]])


class LSGAN(nn.Module):
    def __init__(self, latent=6, hidden=64):
        super().__init__()
        self.latent = latent
        self.gen = nn.Sequential(nn.Linear(latent, hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
                                 nn.Linear(hidden, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, 4))
        self.judge = nn.Sequential(nn.Linear(4, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, hidden), nn.LeakyReLU(0.2),
                                   nn.Linear(hidden, 1))

    def sample(self, n):
        return self.gen(torch.randn(n, self.latent))


def recipes(n):
    return torch.randn(n, 4) @ MIX + torch.tensor([0.5, -0.5, 1.0, 0.0])


def parts(variant):
    torch.manual_seed(0)
    model = LSGAN()
    opt_gen = torch.optim.Adam(model.gen.parameters(), lr=5e-4, betas=(0.5, 0.999))
    opt_judge = torch.optim.Adam(model.judge.parameters(), lr=5e-4, betas=(0.5, 0.999))

    def step(model, batch, optimizer):
        opt_gen, opt_judge = optimizer
        x = batch[0]
        made = model.sample(len(x))

        model.judge.requires_grad_(False)
        opt_gen.zero_grad()
        loss_gen = (model.judge(made) - 1).pow(2).mean()
        loss_gen.backward()
        opt_gen.step()

        model.judge.requires_grad_(True)
        opt_judge.zero_grad()
        loss_judge = 0.5 * (model.judge(x) - 1).pow(2).mean() + 0.5 * model.judge(made.detach()).pow(2).mean()
        loss_judge.backward()
        opt_judge.step()
        return loss_gen + loss_judge.detach()

    return {"model": model, "optimizer": (opt_gen, opt_judge), "step": step,
            "train_loader": DataLoader(TensorDataset(recipes(3000)), batch_size=60, shuffle=True),
            "val_loader": DataLoader(TensorDataset(recipes(1000)), batch_size=100)}


# mean absolute difference of means and covariances
WORKS = lambda score: score < 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(40):
        model.train()
        total = sum(p["step"](model, b, p["optimizer"]).item() for b in p["train_loader"])
        print(f"epoch {epoch:02d} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    real = torch.cat([b for b, in p["val_loader"]])
    with torch.no_grad():
        made = model.sample(3000)
    score = 0.5 * ((real.mean(0) - made.mean(0)).abs().mean() + (torch.cov(real.T) - torch.cov(made.T)).abs().mean()).item()
    print(f"score: {score:.4f}")
