"""Node embeddings of a ring-and-district metro map from random walks with negative sampling: two sparse tables, SparseAdam, and the districts read off by nearest centroid."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

DISTRICTS, SIZE = 8, 40
STATIONS = DISTRICTS * SIZE


def metro(seed):
    g = torch.Generator().manual_seed(seed)
    district = torch.arange(STATIONS) // SIZE
    same = district.unsqueeze(0) == district.unsqueeze(1)
    chance = torch.where(same, 0.15, 0.004)
    upper = torch.triu(torch.rand(STATIONS, STATIONS, generator=g) < chance, diagonal=1)
    adjacency = (upper | upper.T).float()
    ring = torch.arange(STATIONS)
    adjacency[ring, (ring + 1) % STATIONS] = 1
    adjacency[(ring + 1) % STATIONS, ring] = 1
    return adjacency, district


def walk_pairs(adjacency, walks, length, window, seed):
    g = torch.Generator().manual_seed(seed)
    at = torch.arange(STATIONS).repeat(walks)
    path = [at]
    for _ in range(length - 1):
        at = torch.multinomial(adjacency[at], 1, generator=g).squeeze(1)
        path.append(at)
    path = torch.stack(path, 1)
    centre, context = [], []
    for k in range(1, window + 1):
        centre += [path[:, :-k].flatten(), path[:, k:].flatten()]
        context += [path[:, k:].flatten(), path[:, :-k].flatten()]
    return torch.cat(centre), torch.cat(context)


class Walk2Vec(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        self.node = nn.Embedding(STATIONS, dim, sparse=True)
        self.context = nn.Embedding(STATIONS, dim, sparse=True)
        nn.init.normal_(self.node.weight, std=0.1)
        nn.init.normal_(self.context.weight, std=0.1)

    def forward(self, centre, others):
        return (self.node(centre).unsqueeze(1) * self.context(others)).sum(-1)


def negative_sampling(model, batch, negatives=5):
    centre, context = batch
    noise = torch.randint(0, STATIONS, (len(centre), negatives))
    scores = model(centre, torch.cat([context.unsqueeze(1), noise], 1))
    return -(F.logsigmoid(scores[:, 0]) + F.logsigmoid(-scores[:, 1:]).sum(1)).mean()


def parts(variant):
    torch.manual_seed(0)
    adjacency, _ = metro(7)
    model = Walk2Vec()
    return {
        "model": model,
        "optimizer": torch.optim.SparseAdam(list(model.parameters()), lr=5e-3),
        "training_step": negative_sampling,
        "train_loader": DataLoader(TensorDataset(*walk_pairs(adjacency, 4, 12, 3, 1)), batch_size=512, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*walk_pairs(adjacency, 1, 12, 3, 2)), batch_size=4096),
    }


def district_accuracy(model, district):
    v = F.normalize(model.node.weight.detach(), dim=1)
    known = torch.arange(STATIONS) % 4 == 0
    centroids = torch.stack([v[known & (district == d)].mean(0) for d in range(DISTRICTS)])
    guess = (v[~known] @ F.normalize(centroids, dim=1).T).argmax(1)
    return (guess == district[~known]).float().mean().item()


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    _, district = metro(7)
    for epoch in range(5):
        total = 0.0
        for batch in p["train_loader"]:
            opt.zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            opt.step()
            total += loss.item()
        with torch.no_grad():
            val = sum(negative_sampling(model, b).item() for b in p["val_loader"]) / len(p["val_loader"])
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} val {val:.4f} districts {district_accuracy(model, district):.4f}")
    print(f"score: {district_accuracy(model, district):.4f}")
