"""Classifier of fossils on two levels (phylum, genus) with a penalty for genera outside the predicted phylum; the mistake (bad): the penalty compares argmax predictions and has no gradient, the two heads go on to contradict each other; change: the penalty is the probability of a contradiction."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

PHYLA, PER = 4, 5
GENERA = PHYLA * PER
PARENT = torch.arange(GENERA) // PER


def specimens(n, seed):
    g = torch.Generator().manual_seed(seed)
    rule = torch.Generator().manual_seed(99)
    centre = torch.randn(PHYLA, 20, generator=rule)[PARENT] * 0.5 + torch.randn(GENERA, 20, generator=rule) * 0.7
    genus = torch.randint(0, GENERA, (n,), generator=g)
    x = centre[genus] + 1.3 * torch.randn(n, 20, generator=g)
    return TensorDataset(x, PARENT[genus], genus)


class TwoLevels(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, h), nn.ReLU())
        self.phylum = nn.Sequential(nn.Linear(h, h), nn.ReLU(), nn.Linear(h, PHYLA))
        self.genus = nn.Sequential(nn.Linear(h, h), nn.ReLU(), nn.Linear(h, GENERA))

    def forward(self, x):
        z = self.body(x)
        return self.phylum(z), self.genus(z)


class HierarchicalLoss(nn.Module):
    def __init__(self, beta, soft):
        super().__init__()
        self.beta, self.soft = beta, soft
        self.register_buffer("member", F.one_hot(PARENT, PHYLA).float())

    def dependency(self, phylum, genus):
        if self.soft:
            agree = (phylum.softmax(1) * (genus.softmax(1) @ self.member)).sum(1)
            return (1 - agree).mean()
        contradiction = PARENT[genus.argmax(1)] != phylum.argmax(1)
        return (torch.exp(contradiction.float()) - 1).mean()

    def forward(self, output, target):
        phylum, genus = output
        level = F.cross_entropy(phylum, target[0]) + F.cross_entropy(genus, target[1])
        return level + self.beta * self.dependency(phylum, genus)


def parts(variant):
    torch.manual_seed(0)
    model = TwoLevels()
    criterion = HierarchicalLoss(beta=8.0, soft=variant != "bad")

    def training_step(model, batch):
        x, phylum, genus = batch
        return criterion(model(x), (phylum, genus))

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4),
            "training_step": training_step,
            "train_loader": DataLoader(specimens(2000, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(specimens(1000, 2), batch_size=250)}


WORKS = lambda score: score > 0.93  # share of specimens whose genus lies in the predicted phylum

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(1, 26):
        model.train()
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        if epoch % 5 == 0:
            print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f}")
    model.eval()
    agree, right = [], []
    with torch.no_grad():
        for x, phylum, genus in p["val_loader"]:
            a, b = model(x)
            agree.append(PARENT[b.argmax(1)] == a.argmax(1))
            right.append(a.argmax(1) == phylum)
    print(f"phylum accuracy {torch.cat(right).float().mean().item():.4f}")
    print(f"score: {torch.cat(agree).float().mean().item():.4f}")
