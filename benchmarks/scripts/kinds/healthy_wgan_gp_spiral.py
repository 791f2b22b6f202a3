"""Healthy: WGAN with gradient penalty on a spiral: critic losses are negative, neither falls steadily, five critic steps to one of the generator; score by energy distance; nothing to change."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

Z, CRITIC_STEPS, GP = 4, 5, 2.0
WORKS = lambda score: score < 0.05


def spiral(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = 0.5 + 2.5 * torch.rand(n, generator=g)
    return torch.stack([t * torch.cos(2 * t), t * torch.sin(2 * t)], 1) / 2 + 0.03 * torch.randn(n, 2, generator=g)


def mlp(a, b, h=96):
    return nn.Sequential(nn.Linear(a, h), nn.LeakyReLU(0.1), nn.Linear(h, h), nn.LeakyReLU(0.1), nn.Linear(h, b))


def penalty(critic, real, fake):
    mix = torch.rand(len(real), 1)
    x = (mix * real + (1 - mix) * fake).requires_grad_(True)
    (grad,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (grad.norm(dim=1) - 1).pow(2).mean()


def parts(variant="fixed"):
    torch.manual_seed(0)
    nets = nn.ModuleDict({"generator": mlp(Z, 2), "critic": mlp(2, 1)})
    opts = [torch.optim.Adam(nets[k].parameters(), lr=1e-3, betas=(0.0, 0.9)) for k in ("generator", "critic")]
    count = {"n": 0}

    def step(nets, batch, optimizers):
        (real,) = batch
        opt_g, opt_c = optimizers
        fake = nets["generator"](torch.randn(len(real), Z)).detach()
        loss = nets["critic"](fake).mean() - nets["critic"](real).mean() + GP * penalty(nets["critic"], real, fake)
        opt_c.zero_grad()
        loss.backward()
        opt_c.step()
        count["n"] += 1
        if count["n"] % CRITIC_STEPS == 0:
            g_loss = -nets["critic"](nets["generator"](torch.randn(len(real), Z))).mean()
            opt_g.zero_grad()
            g_loss.backward()
            opt_g.step()
        return loss

    return {"model": nets, "optimizer": opts, "step": step, "train_loader": DataLoader(TensorDataset(spiral(12800, 1)), batch_size=128, shuffle=True)}


@torch.no_grad()
def energy_distance(gen, n=1500):
    torch.manual_seed(9)
    a, b = gen(torch.randn(n, Z)), spiral(n, 2)
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print("before:", energy_distance(p["model"]["generator"]))
    for epoch in range(35):
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1} critic {sum(losses) / len(losses):.4f} energy distance {energy_distance(p['model']['generator']):.4f}")
    print(f"score: {energy_distance(p['model']['generator']):.4f}")
