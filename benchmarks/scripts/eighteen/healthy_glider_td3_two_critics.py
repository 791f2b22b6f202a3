"""Sound: TD3 that holds a glider on its height: two critics, target nets by a slow average, smoothed target actions, the actor stepped every second time; the critic's loss does not fall steadily. change: nothing."""
import copy
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

GAMMA, TAU, DELAY = 0.93, 0.01, 2


class Actor(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Tanh())

    def forward(self, s):
        return self.net(s)


class Critics(nn.Module):
    def __init__(self):
        super().__init__()
        make = lambda: nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.q1, self.q2 = make(), make()

    def forward(self, s, a):
        sa = torch.cat([s, a], 1)
        return self.q1(sa).squeeze(1), self.q2(sa).squeeze(1)


def glide(s, a):
    """Height above the wanted one and climb rate; the flap works on the climb rate."""
    height, climb = s.unbind(1)
    climb = (0.9 * climb + 0.25 * a.squeeze(1) - 0.05 + 0.03 * torch.randn_like(climb)).clamp(-1, 1)
    height = (height + 0.5 * climb).clamp(-3, 3)
    return torch.stack([height, climb], 1), -(height ** 2) - 0.05 * a.squeeze(1) ** 2


def flights(n, seed):
    g = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.stack([4 * torch.rand(n, generator=g) - 2, 0.4 * torch.randn(n, generator=g)], 1))


def parts(variant):
    torch.manual_seed(0)
    model = nn.ModuleDict({"actor": Actor(), "critics": Critics()})
    target = copy.deepcopy(model).requires_grad_(False)
    optimizer = (torch.optim.Adam(model["actor"].parameters(), lr=1e-3), torch.optim.Adam(model["critics"].parameters(), lr=1e-3))
    replay, updates = [], [0]

    def step(model, batch, optimizer):
        actor_opt, critic_opt = optimizer
        s, = batch
        for _ in range(20):
            with torch.no_grad():
                a = (model["actor"](s) + 0.3 * torch.randn(len(s), 1)).clamp(-1, 1)
            s2, r = glide(s, a)
            replay.append(torch.cat([s, a, r.unsqueeze(1), s2], 1))
            s = s2
        memory = torch.cat(replay[-1500:])
        for _ in range(15):
            m = memory[torch.randint(0, len(memory), (100,))]
            s, a, r, s2 = m[:, :2], m[:, 2:3], m[:, 3], m[:, 4:]
            with torch.no_grad():
                noise = (0.2 * torch.randn_like(a)).clamp(-0.5, 0.5)
                a2 = (target["actor"](s2) + noise).clamp(-1, 1)
                y = r + GAMMA * torch.min(*target["critics"](s2, a2))
            q1, q2 = model["critics"](s, a)
            critic_loss = F.mse_loss(q1, y) + F.mse_loss(q2, y)
            critic_opt.zero_grad()
            critic_loss.backward()
            critic_opt.step()
            updates[0] += 1
            if updates[0] % DELAY == 0:
                actor_loss = -model["critics"](s, model["actor"](s))[0].mean()
                actor_opt.zero_grad()
                actor_loss.backward()
                actor_opt.step()
                with torch.no_grad():
                    for t, p in zip(target.parameters(), model.parameters()):
                        t.mul_(1 - TAU).add_(TAU * p)
        return critic_loss

    return {"model": model, "optimizer": optimizer, "step": step,
            "train_loader": DataLoader(flights(128, 1), 8, shuffle=True), "val_loader": DataLoader(flights(200, 2), 200)}


@torch.no_grad()
def height_error(model, loader):
    s, = next(iter(loader))
    errors = []
    for t in range(60):
        s, _ = glide(s, model["actor"](s))
        if t >= 30:
            errors.append(s[:, 0].abs().mean())
    return torch.stack(errors).mean().item()


WORKS = lambda score: score < 0.4  # mean distance from the height wanted, second half of the flight

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(14):
        losses = [p["step"](p["model"], batch, p["optimizer"]).item() for batch in p["train_loader"]]
        print(f"epoch {epoch + 1}: critics {sum(losses) / len(losses):.4f}, height off by {height_error(p['model'], p['val_loader']):.3f}")
    print(f"score: {height_error(p['model'], p['val_loader']):.4f}")
