"""Learns from a cinema's log which of six vouchers to send to a member. What could look odd: the network gives six numbers, the loss looks at one of them per row, the other five get no gradient. Why it is right: only the spending after the voucher that was sent is known, and the vouchers were sent at random. The score is the spending under the network's choice, from 0 (random) to 1 (best choice)."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
VOUCHERS, FEATURES = 6, 8


class Members:
    def __init__(self, gen):
        self.taste = torch.randn(FEATURES, VOUCHERS, generator=gen)
        self.pairs = 0.5 * torch.randn(FEATURES, VOUCHERS, generator=gen)

    def draw(self, n, gen):
        return torch.randn(n, FEATURES, generator=gen)

    def spending(self, x):
        return F.softplus(0.5 * (x @ self.taste) + 0.4 * ((x * x.roll(1, 1)) @ self.pairs))


class Log(Dataset):
    def __init__(self, members, n, gen):
        self.x = members.draw(n, gen)
        self.sent = torch.randint(0, VOUCHERS, (n,), generator=gen)
        spent = members.spending(self.x).gather(1, self.sent[:, None])[:, 0]
        self.spent = spent + 0.3 * torch.randn(n, generator=gen)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {"member": self.x[i], "sent": self.sent[i], "spent": self.spent[i]}


def build():
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, VOUCHERS))


def training_step(model, batch):
    expected = model(batch["member"]).gather(1, batch["sent"].unsqueeze(1)).squeeze(1)
    return F.mse_loss(expected, batch["spent"])


def gain(model, members, x):
    spending = members.spending(x)
    with torch.no_grad():
        choice = model(x).argmax(1, keepdim=True)
    chosen, random, best = spending.gather(1, choice).mean(), spending.mean(), spending.amax(1).mean()
    return ((chosen - random) / (best - random)).item()


def parts(variant):
    torch.manual_seed(25)
    gen = torch.Generator().manual_seed(250)
    members = Members(gen)
    model = build()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.02),
            "training_step": training_step,
            "train_loader": DataLoader(Log(members, 5000, gen), batch_size=100, shuffle=True),
            "members": members, "held_out": members.draw(1000, gen)}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    optimizer = p["optimizer"]
    for epoch in range(7):
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}, gain {gain(p['model'], p['members'], p['held_out']):.3f}")
    print("score:", gain(p["model"], p["members"], p["held_out"]))
