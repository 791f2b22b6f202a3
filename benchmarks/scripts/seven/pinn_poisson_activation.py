"""Physics-informed network for a 1-D Poisson problem; with ReLU the second derivative is zero everywhere, so the equation's residual cannot be trained; change: `fixed` uses Tanh."""
import sys
import torch
import torch.nn as nn

EPOCHS, LR = 2500, 2e-3
WORKS = lambda score: score < 0.1          # relative L2 error against the exact solution


def source(x):
    return torch.pi ** 2 * torch.sin(torch.pi * x) + 4 * torch.pi ** 2 * torch.sin(2 * torch.pi * x)


def exact(x):
    return torch.sin(torch.pi * x) + torch.sin(2 * torch.pi * x)


class PINN(nn.Module):
    """u: [0, 1] -> R with -u'' = f and u(0) = u(1) = 0."""
    def __init__(self, activation, width=40, depth=3):
        super().__init__()
        layers = [nn.Linear(1, width), activation()]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), activation()]
        self.net = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, x):
        return self.net(x)


def d(y, x):
    return torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)[0]


def parts(variant):
    torch.manual_seed(0)
    model = PINN(nn.ReLU if variant == "bad" else nn.Tanh)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    colloc = [torch.rand(64, 1) for _ in range(EPOCHS)]
    xb = torch.tensor([[0.0], [1.0]])

    def training_step(model, x):
        x = x.clone().requires_grad_(True)
        u = model(x)
        residual = d(d(u, x), x) + source(x)
        return residual.pow(2).mean() + 100 * model(xb).pow(2).mean()

    return dict(model=model, optimizer=optimizer, scheduler=scheduler, train_loader=colloc, training_step=training_step)


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch, x in enumerate(p["train_loader"], 1):
        optimizer.zero_grad()
        loss = p["training_step"](model, x)
        loss.backward()
        optimizer.step()
        scheduler.step()
        if epoch % 500 == 0:
            print("Epoch", epoch, "loss", loss.item())
    xs = torch.linspace(0, 1, 200)[:, None]
    with torch.no_grad():
        err = (model(xs) - exact(xs)).norm() / exact(xs).norm()
    print("score:", round(err.item(), 4))
