"""Sound: WGAN-GP on the hops of a drone (dx, dy on a noisy cross), critic steps inside, optimizers in a tuple, Adam without momentum; nothing to change."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def hops(n):
    along = torch.rand(n) * 4 - 2
    across = 0.1 * torch.randn(n)
    east = torch.rand(n) < 0.5
    return torch.stack([torch.where(east, along, across), torch.where(east, across, along)], 1)


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.maker = nn.Sequential(nn.Linear(4, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 2))
        self.critic = nn.Sequential(nn.Linear(2, 96), nn.Softplus(), nn.Linear(96, 96), nn.Softplus(), nn.Linear(96, 1))

    def make(self, n):
        return self.maker(torch.randn(n, 4))


def parts(variant):
    torch.manual_seed(0)
    pair = Pair()
    optimizer = (torch.optim.Adam(pair.maker.parameters(), lr=5e-4, betas=(0.0, 0.9)),
                 torch.optim.Adam(pair.critic.parameters(), lr=1e-3, betas=(0.0, 0.9)))

    def penalty(critic, a, b):
        u = torch.rand(len(a), 1)
        x = (u * a + (1 - u) * b).requires_grad_()
        g = torch.autograd.grad(critic(x).sum(), x, create_graph=True)[0]
        return (g.norm(dim=1) - 1).square().mean()

    def step(model, batch, optimizer):
        opt_maker, opt_critic = optimizer
        x, = batch
        for _ in range(4):
            made = model.make(len(x)).detach()
            estimate = model.critic(x).mean() - model.critic(made).mean()
            loss = -estimate + 2.0 * penalty(model.critic, x, made)
            opt_critic.zero_grad(set_to_none=True)
            loss.backward()
            opt_critic.step()
        loss_maker = -model.critic(model.make(len(x))).mean()
        opt_maker.zero_grad(set_to_none=True)
        loss_maker.backward()
        opt_maker.step()
        return loss.detach()

    return {"model": pair, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(TensorDataset(hops(4096)), batch_size=128, shuffle=True),
            "val_loader": DataLoader(TensorDataset(hops(512)), batch_size=128)}


# share of made hops on the cross, times the share of its four arms that get at least 12 %
WORKS = lambda score: score > 0.6

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(90):
        c = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"epoch {epoch} critic {sum(c) / len(c):.4f}")
    with torch.no_grad():
        made = p["model"].make(2000)
    x, y = made.unbind(1)
    on = (made.abs().min(1).values < 0.35) & (made.abs().max(1).values < 2.3)
    wide = x.abs() > y.abs()
    arms = torch.stack([on & wide & (x > 0), on & wide & (x < 0), on & ~wide & (y > 0), on & ~wide & (y < 0)]).float().mean(1)
    score = on.float().mean().item() * (arms > 0.12).float().mean().item()
    print(f"score: {score:.4f}")
