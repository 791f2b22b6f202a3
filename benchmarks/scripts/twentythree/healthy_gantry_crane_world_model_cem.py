"""World model of a gantry crane with a swinging load: a network predicts the normalised change of the state and is trained on five-step rollouts of its own predictions; then the cross-entropy method plans in it. Unusual: backpropagation through own predictions, a score that is measured by control in the true crane."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
DT, ROLL, HORIZON = 0.1, 5, 15


def crane(s, u):
    """cart position, cart speed, angle, angular speed; u is the acceleration -1..1"""
    x, v, th, om = s.unbind(-1)
    a = 2.0 * u
    alpha = -4.0 * torch.sin(th) - a * torch.cos(th) - 0.1 * om
    v = v + DT * (a - 0.3 * v)
    om = om + DT * alpha
    return torch.stack([x + DT * v, v, th + DT * om, om], -1)


def segments(n, seed):
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(n, 4, generator=g) * torch.tensor([1.0, 0.8, 0.4, 0.8])
    u = torch.rand(n, ROLL, generator=g) * 2 - 1
    path = [s]
    for i in range(ROLL):
        path.append(crane(path[-1], u[:, i]) + 0.002 * torch.randn(n, 4, generator=g))
    return torch.stack(path, 1), u


class WorldModel(nn.Module):
    def __init__(self, states, h=64):
        super().__init__()
        diff = (states[:, 1:] - states[:, :-1]).flatten(0, 1)
        flat = states.flatten(0, 1)
        self.register_buffer("s_mean", flat.mean(0))
        self.register_buffer("s_std", flat.std(0))
        self.register_buffer("d_mean", diff.mean(0))
        self.register_buffer("d_std", diff.std(0))
        self.net = nn.Sequential(nn.Linear(5, h), nn.SiLU(), nn.Linear(h, h), nn.SiLU(), nn.Linear(h, 4))

    def forward(self, s, u):
        z = torch.cat([(s - self.s_mean) / self.s_std, u.unsqueeze(-1)], -1)
        return s + self.d_mean + self.d_std * self.net(z)


def training_step(model, batch):
    states, u = batch
    s, loss = states[:, 0], 0.0
    for i in range(ROLL):
        s = model(s, u[:, i])
        loss = loss + (((s - states[:, i + 1]) / model.d_std) ** 2).mean()
    return loss / ROLL


def parts(variant):
    torch.manual_seed(0)
    states, u = segments(6000, 0)
    model = WorldModel(states)
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(TensorDataset(states, u), batch_size=64, shuffle=True),
            "val_loader": DataLoader(TensorDataset(*segments(500, 1)), batch_size=250)}


WORKS = lambda score: score > 0.6


def cost(s):
    return s[..., 0] ** 2 + 0.5 * s[..., 2] ** 2 + 0.1 * s[..., 1] ** 2 + 0.05 * s[..., 3] ** 2


@torch.no_grad()
def plan(model, s, pop=64, rounds=3, elite=8):
    n = len(s)
    mean, std = torch.zeros(n, 1, HORIZON), torch.ones(n, 1, HORIZON) * 0.7
    for _ in range(rounds):
        u = (mean + std * torch.randn(n, pop, HORIZON)).clamp(-1, 1)
        x = s[:, None].expand(-1, pop, -1)
        total = 0.0
        for i in range(HORIZON):
            x = model(x, u[..., i])
            total = total + cost(x)
        best = total.topk(elite, dim=1, largest=False).indices
        top = u.gather(1, best[..., None].expand(-1, -1, HORIZON))
        mean, std = top.mean(1, keepdim=True), top.std(1, keepdim=True) + 0.05
    return mean[:, 0, 0]


def control(model, n=30, steps=45):
    torch.manual_seed(3)
    s = torch.randn(n, 4) * torch.tensor([0.3, 0.2, 0.2, 0.2])
    s[:, 0] += torch.where(torch.rand(n) < 0.5, -1.2, 1.2)
    for _ in range(steps):
        s = crane(s, plan(model, s))
    return (cost(s) < 0.05).float().mean().item()


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    print("parked with the untrained model:", control(model))
    for epoch in range(12):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 3 == 2:
            print(f"epoch {epoch + 1}: rollout error {total / len(p['train_loader']):.5f}")
    model.eval()
    print("score:", control(model))
