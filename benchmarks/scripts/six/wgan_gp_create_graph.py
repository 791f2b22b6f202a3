"""WGAN-GP on a ring of Gaussians; the penalty's gradient is taken without create_graph, so the penalty has no effect on the critic; change: create_graph=True."""
import sys
import numpy as np
import torch
import torch.nn as nn

LAMBDA, N_CRITIC, Z = 1.0, 3, 8


def ring(n, rng):
    k = rng.randint(0, 8, n)
    pts = np.stack([np.cos(k * np.pi / 4), np.sin(k * np.pi / 4)], 1) * 2.0
    return torch.tensor(pts + rng.randn(n, 2) * 0.1, dtype=torch.float32)


def mlp(i, o, act):
    return nn.Sequential(nn.Linear(i, 96), act(), nn.Linear(96, 96), act(), nn.Linear(96, o))


def gradient_penalty(critic, real, fake, graph):
    eps = torch.rand(real.size(0), 1)
    inter = (eps * real + (1 - eps) * fake).requires_grad_(True)
    score = critic(inter)
    grads = torch.autograd.grad(score, inter, grad_outputs=torch.ones_like(score),
                                retain_graph=True, create_graph=graph)[0]
    return ((grads.norm(2, dim=1) - 1) ** 2).mean()


def parts(variant):
    torch.manual_seed(0)
    nets = nn.ModuleDict({"G": mlp(Z, 2, nn.ReLU), "D": mlp(2, 1, nn.LeakyReLU)})
    opt_g = torch.optim.Adam(nets["G"].parameters(), lr=1e-3, betas=(0.5, 0.9))
    opt_d = torch.optim.Adam(nets["D"].parameters(), lr=1e-3, betas=(0.5, 0.9))
    x = ring(128 * 60, np.random.RandomState(0))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x), batch_size=128, shuffle=True)

    def step(nets, batch, optimizer):
        G, D = nets["G"], nets["D"]
        opt_g, opt_d = optimizer
        real = batch[0]
        for _ in range(N_CRITIC):
            fake = G(torch.randn(len(real), Z)).detach()
            gp = gradient_penalty(D, real, fake, graph=variant != "bad")
            d_loss = D(fake).mean() - D(real).mean() + LAMBDA * gp
            opt_d.zero_grad()
            d_loss.backward()
            opt_d.step()
        g_loss = -D(G(torch.randn(len(real), Z))).mean()
        opt_g.zero_grad()
        g_loss.backward()
        opt_g.step()
        step.log = (d_loss.item(), g_loss.item(), gp.item())
        return g_loss

    return {"model": nets, "optimizer": [opt_g, opt_d], "train_loader": loader, "step": step}


WORKS = lambda score: score < 0.12

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(20):
        for batch in p["train_loader"]:
            p["step"](p["model"], batch, p["optimizer"])
        if epoch % 4 == 3:
            print("epoch %d  D %.3f  G %.3f  gp %.3f" % ((epoch + 1,) + p["step"].log))
    with torch.no_grad():
        torch.manual_seed(5)
        a, b = p["model"]["G"](torch.randn(2000, Z)), ring(2000, np.random.RandomState(7))
        ed = 2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()
    print(f"score: {ed.item():.4f}")   # energy distance to held-out data, lower is better
