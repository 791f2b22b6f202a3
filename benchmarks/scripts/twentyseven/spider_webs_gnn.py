"""Graph network on small spiders' webs (24 joints with the threads between them): predicts four properties of the whole web (tension, stickiness, sag, wear) from noisy readings at its joints.
The read-out averages over the features of each joint instead of over the joints, which goes unnoticed since both are 24; the right change: h.mean(dim=1), the joints' axis."""
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
JOINTS, KINDS = 24, 4


class Webs(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        state = torch.randn(n, KINDS, generator=g)
        kind = torch.randint(0, KINDS, (n, JOINTS), generator=g)
        reading = state.gather(1, kind) + 0.7 * torch.randn(n, JOINTS, generator=g)
        place = torch.rand(n, JOINTS, 2, generator=g)
        self.nodes = torch.cat([F.one_hot(kind, KINDS).float(), reading.unsqueeze(-1), place], -1)
        self.adjacency = (torch.cdist(place, place) < 0.28).float()
        mix = torch.tensor([[1.0, 0.3, 0, 0], [0, 1, -0.4, 0], [0.2, 0, 1, 0.3], [0, -0.3, 0, 1]])
        self.targets = state @ mix.T + 0.1 * torch.randn(n, KINDS, generator=g)

    def __len__(self):
        return len(self.nodes)

    def __getitem__(self, i):
        return {"nodes": self.nodes[i], "adjacency": self.adjacency[i], "web": self.targets[i]}


class ThreadConv(nn.Module):
    def __init__(self, cin, cout):
        super().__init__()
        self.own = nn.Linear(cin, cout)
        self.near = nn.Linear(cin, cout, bias=False)

    def forward(self, h, adjacency):
        degree = adjacency.sum(-1, keepdim=True).clamp(min=1)
        return F.relu(self.own(h) + self.near(adjacency @ h / degree))


class WebNet(nn.Module):
    def __init__(self, readout_dim, hidden=24):
        super().__init__()
        self.readout_dim = readout_dim
        self.conv1 = ThreadConv(KINDS + 3, hidden)
        self.conv2 = ThreadConv(hidden, hidden)
        self.head = nn.Sequential(nn.Linear(hidden, 32), nn.ReLU(), nn.Linear(32, KINDS))

    def forward(self, nodes, adjacency):
        h = self.conv2(self.conv1(nodes, adjacency), adjacency)
        return self.head(h.mean(dim=self.readout_dim))


def training_step(model, batch):
    return F.mse_loss(model(batch["nodes"], batch["adjacency"]), batch["web"])


def parts(variant):
    torch.manual_seed(13)
    model = WebNet(readout_dim=2 if variant == "bad" else 1)
    return {"model": model, "training_step": training_step,
            "optimizer": torch.optim.Adam(model.parameters(), lr=5e-3),
            "train_loader": DataLoader(Webs(2000, 1), batch_size=50, shuffle=True),
            "val_loader": DataLoader(Webs(500, 2), batch_size=250)}


WORKS = lambda score: score > 0.65


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    wrong = spread = 0.0
    for batch in loader:
        out = model(batch["nodes"], batch["adjacency"])
        wrong += ((out - batch["web"]) ** 2).sum().item()
        spread += ((batch["web"] - batch["web"].mean(0)) ** 2).sum().item()
    return 1 - wrong / spread


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    for epoch in range(14):
        p["model"].train()
        for batch in p["train_loader"]:
            loss = p["training_step"](p["model"], batch)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
        score = evaluate(p["model"], p["val_loader"])
        print(f"epoch {epoch}: train mse {loss.item():.3f}, R2 {score:.3f}")
    print("score:", score)
