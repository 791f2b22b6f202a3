"""Message passing over networks of ski lift stations: the queue at every station from arrivals and capacities, where skiers spill over along the runs. Nothing odd: summed messages, runs weighted by the share of the sending station, padded stations masked out of the loss, dict batches, Adam with weight decay; held-out R2."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


def make_resort(g):
    n = int(torch.randint(6, 15, (1,), generator=g))
    adj = torch.zeros(n, n)
    for i in range(1, n):
        j = int(torch.randint(0, i, (1,), generator=g))
        adj[i, j] = adj[j, i] = 1.0
    extra = torch.randint(0, n, (2, n // 3), generator=g)
    for a, b in extra.t().tolist():
        if a != b:
            adj[a, b] = adj[b, a] = 1.0
    arrivals, capacity = torch.rand(n, generator=g), 0.3 + 0.7 * torch.rand(n, generator=g)
    spill = (adj / adj.sum(0, keepdim=True)) @ (arrivals * 0.8)
    queue = torch.relu(arrivals + spill - capacity) + 0.05 * torch.randn(n, generator=g)
    return torch.stack([arrivals, capacity], 1), adj, queue


class Resorts(Dataset):
    def __init__(self, resorts):
        self.resorts = resorts

    def __len__(self):
        return len(self.resorts)

    def __getitem__(self, i):
        return self.resorts[i]


def collate(items):
    size = max(len(x) for x, _, _ in items)
    batch = {"x": torch.zeros(len(items), size, 2), "adj": torch.zeros(len(items), size, size),
             "mask": torch.zeros(len(items), size), "y": torch.zeros(len(items), size)}
    for i, (x, adj, queue) in enumerate(items):
        n = len(x)
        batch["x"][i, :n], batch["adj"][i, :n, :n], batch["mask"][i, :n] = x, adj / adj.sum(0), 1.0
        batch["y"][i, :n] = queue
    return batch


class MessageNet(nn.Module):
    def __init__(self, dim=32, rounds=2):
        super().__init__()
        self.embed = nn.Linear(2, dim)
        self.send = nn.ModuleList([nn.Linear(dim, dim) for _ in range(rounds)])
        self.update = nn.ModuleList([nn.Sequential(nn.Linear(2 * dim, dim), nn.ReLU(), nn.Linear(dim, dim)) for _ in range(rounds)])
        self.read = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))

    def forward(self, batch):
        adj = batch["adj"]
        h = torch.relu(self.embed(batch["x"]))
        for send, update in zip(self.send, self.update):
            h = h + update(torch.cat([h, adj @ torch.relu(send(h))], -1))
        return self.read(h).squeeze(-1)


def training_step(model, batch):
    error = (model(batch) - batch["y"]) ** 2 * batch["mask"]
    return error.sum() / batch["mask"].sum()


@torch.no_grad()
def r_squared(model, loader):
    pred, true = zip(*[(model(b)[b["mask"] > 0], b["y"][b["mask"] > 0]) for b in loader])
    pred, true = torch.cat(pred), torch.cat(true)
    return 1 - ((pred - true).pow(2).sum() / (true - true.mean()).pow(2).sum()).item()


def parts(variant):
    torch.manual_seed(17)
    g = torch.Generator().manual_seed(170)
    resorts = [make_resort(g) for _ in range(1500)]
    model = MessageNet()
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3, weight_decay=1e-5), "training_step": training_step,
            "train_loader": DataLoader(Resorts(resorts[:1200]), batch_size=32, shuffle=True, collate_fn=collate),
            "val_loader": DataLoader(Resorts(resorts[1200:]), batch_size=100, collate_fn=collate)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    p = parts("fixed")
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(p["optimizer"], 9)
    for epoch in range(9):
        p["model"].train()
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](p["model"], batch)
            loss.backward()
            p["optimizer"].step()
        scheduler.step()
        p["model"].eval()
        score = r_squared(p["model"], p["val_loader"])
        if epoch % 3 == 2:
            print(f"epoch {epoch}: loss {loss.item():.4f} R2 {score:.3f}")
    print("score:", score)
