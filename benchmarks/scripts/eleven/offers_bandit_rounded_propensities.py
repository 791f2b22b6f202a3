"""Policy for offers learnt from a shop's log (off-policy bandit, weights 1/propensity), Adam; the log was exported with two decimals, and the propensities of rare offers became 0.00; change: full precision."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

OFFERS, FEATURES = 5, 10


def world():
    g = torch.Generator().manual_seed(7)
    return torch.randn(FEATURES, OFFERS, generator=g), torch.randn(FEATURES, OFFERS, generator=g)


def chance_of_sale(x):
    taste, _ = world()
    return torch.sigmoid(1.2 * (x @ taste) / FEATURES ** 0.5 * 2 - 0.5)


def shop_log(n, seed, decimals=None):
    """what the old policy offered, how probable that was, and whether it sold"""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, FEATURES, generator=g)
    _, habit = world()
    old = 0.98 * torch.softmax(0.5 * x @ habit, 1) + 0.02 / OFFERS
    offer = torch.multinomial(old, 1, generator=g).squeeze(1)
    propensity = old.gather(1, offer[:, None]).squeeze(1)
    sold = torch.bernoulli(chance_of_sale(x).gather(1, offer[:, None]).squeeze(1), generator=g)
    if decimals is not None:
        propensity = propensity.round(decimals=decimals)
    return x, offer, propensity, sold


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FEATURES, 32), nn.Tanh(), nn.Linear(32, OFFERS))

    def forward(self, x):
        return self.net(x)


def training_step(model, batch):
    x, offer, propensity, sold = batch
    chosen = torch.softmax(model(x), 1).gather(1, offer[:, None]).squeeze(1)
    weight = chosen / propensity
    return -(weight * (sold - 0.4)).mean()


def parts(variant):
    torch.manual_seed(0)
    data = TensorDataset(*shop_log(20000, 1, decimals=2 if variant == "bad" else None))
    model = Policy()
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3),
        "train_loader": DataLoader(data, batch_size=250, shuffle=True),
        "training_step": training_step,
    }


WORKS = lambda score: score > 0.85


@torch.no_grad()
def share_of_best(model):
    x = torch.randn(4000, FEATURES, generator=torch.Generator().manual_seed(9))
    sale = chance_of_sale(x)
    got = sale.gather(1, model(x).argmax(1, keepdim=True)).mean()
    return ((got - sale.mean()) / (sale.amax(1).mean() - sale.mean())).item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    policy, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        value = 0.0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["training_step"](policy, batch)
            loss.backward()
            optimizer.step()
            value -= loss.item() / len(p["train_loader"])
        print(f"epoch {epoch}: estimated value {value:.4f}, share of the best {share_of_best(policy):.3f}")
    print(f"score: {share_of_best(policy):.4f}")
