"""Behaviour cloning of a controller that parks a cart, ReLU net under Adam; mistake: the orthogonal start with gain 0.01, which belongs to a policy's last layer, is applied to every linear layer, so the signal falls a hundredfold per layer; change: gain sqrt(2) for the hidden layers, 0.01 for the last."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def demonstrations(n, seed):
    """State (place, speed, load, slope) and the expert's push on two wheels."""
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(n, 4, generator=g)
    place, speed, load, slope = s.unbind(1)
    push = torch.tanh(-1.2 * place - 0.9 * speed * (1 + 0.4 * torch.tanh(load)) + 0.6 * slope)
    turn = torch.sin(1.5 * place) * torch.tanh(load) - 0.4 * slope
    actions = torch.stack([push + turn, push - turn], 1)
    return s, actions + 0.05 * torch.randn(n, 2, generator=g)


def start(gain):
    def init(module):
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight, gain=gain)
            nn.init.zeros_(module.bias)
    return init


class Policy(nn.Module):
    def __init__(self, width=128, depth=5):
        super().__init__()
        sizes = [4] + [width] * depth
        layers = []
        for a, b in zip(sizes, sizes[1:]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.action = nn.Linear(width, 2)

    def forward(self, state):
        return self.action(self.body(state))


def parts(variant):
    torch.manual_seed(0)
    policy = Policy()
    if variant == "bad":
        policy.apply(start(0.01))
    else:
        policy.body.apply(start(2 ** 0.5))
        policy.action.apply(start(0.01))
    return {
        "model": policy,
        "optimizer": torch.optim.Adam(policy.parameters(), lr=3e-4),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(TensorDataset(*demonstrations(4000, 1)), batch_size=64, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*demonstrations(800, 2)), batch_size=400),
    }


@torch.no_grad()
def agreement(policy, loader):
    """Share of the variance of the expert's actions that the policy explains."""
    policy.eval()
    out = torch.cat([policy(s) for s, _ in loader])
    act = torch.cat([a for _, a in loader])
    return (1 - ((out - act) ** 2).mean() / act.var(0).mean()).item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    policy, optimizer, loss_fn = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(20):
        policy.train()
        total = 0.0
        for state, action in p["train_loader"]:
            loss = loss_fn(policy(state), action)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(policy.parameters(), 0.5)
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, agreement {agreement(policy, p['val_loader']):.3f}")
    print(f"score: {agreement(policy, p['val_loader']):.4f}")
