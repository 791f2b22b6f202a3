"""PointNet on lidar clusters given in UTM metres (easting 5e5, northing 5e6) just as they were read; change: every cluster is moved to its centroid and scaled."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

CLASSES = ["pole", "ground", "car", "tree"]
POINTS = 64


def read_cluster(label, g):
    """One cluster, (x, y, z) in metres, somewhere in a 2 km tile of zone 32."""
    u = torch.rand(POINTS, 3, generator=g)
    n = torch.randn(POINTS, 3, generator=g)
    if label == 0:
        p = torch.stack([0.1 * n[:, 0], 0.1 * n[:, 1], 5 * u[:, 2]], 1)
    elif label == 1:
        p = torch.stack([6 * u[:, 0] - 3, 6 * u[:, 1] - 3, 0.05 * n[:, 2]], 1)
    elif label == 2:
        p = (u - 0.5) * torch.tensor([4.2, 1.8, 1.5])
        side = torch.randint(0, 3, (POINTS,), generator=g)
        p[torch.arange(POINTS), side] = p[torch.arange(POINTS), side].sign() * torch.tensor([2.1, 0.9, 0.75])[side]
    else:
        p = n * torch.tensor([1.2, 1.2, 1.2]) + torch.tensor([0, 0, 4.0])
        p[:16] = torch.stack([0.15 * n[:16, 0], 0.15 * n[:16, 1], 4 * u[:16, 2]], 1)
    a = torch.rand(1, generator=g) * 6.283
    c, s = a.cos(), a.sin()
    p[:, :2] = torch.stack([c * p[:, 0] - s * p[:, 1], s * p[:, 0] + c * p[:, 1]], 1)
    origin = torch.tensor([468_000.0, 5_512_000.0, 112.0]) + torch.rand(3, generator=g) * torch.tensor([2000.0, 2000.0, 30.0])
    return p.double() + origin.double()


class Clusters(Dataset):
    def __init__(self, n, seed, local):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, len(CLASSES), (n,), generator=g)
        self.clouds = [read_cluster(int(k), g) for k in self.labels]
        self.local = local

    def __len__(self):
        return len(self.clouds)

    def __getitem__(self, i):
        cloud = self.clouds[i]
        if self.local:
            cloud = (cloud - cloud.mean(0)) / 3
        return cloud.float(), self.labels[i]


class PointNet(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.point = nn.Sequential(nn.Conv1d(3, 32, 1), nn.ReLU(), nn.Conv1d(32, 64, 1), nn.ReLU(), nn.Conv1d(64, 96, 1))
        self.head = nn.Sequential(nn.Linear(96, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, k))

    def forward(self, xyz):
        return self.head(self.point(xyz.transpose(1, 2)).amax(2))


def parts(variant):
    torch.manual_seed(0)
    local = variant != "bad"
    model = PointNet(len(CLASSES))
    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=1e-3), "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Clusters(1600, 1, local), batch_size=32, shuffle=True),
            "val_loader": DataLoader(Clusters(400, 2, local), batch_size=100)}


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(12):
        model.train()
        losses = []
        for xyz, label in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(xyz), label)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == y).sum().item() for x, y in p["val_loader"]) / 400
        print(f"epoch {epoch + 1}: loss {sum(losses) / len(losses):.4f}, accuracy {acc:.3f}")
    print(f"score: {acc:.4f}")
