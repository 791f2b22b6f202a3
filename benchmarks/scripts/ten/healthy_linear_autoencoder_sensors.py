"""Sound: a linear autoencoder, four linear layers with nothing between them, on purpose: 40 sensors see 5 sources through a linear mixing, and the net is to find that subspace (a PCA by gradient descent)."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class SensorArray(Dataset):
    def __init__(self, n, seed):
        mixing = torch.randn(5, 40, generator=torch.Generator().manual_seed(8)) / 5 ** 0.5
        g = torch.Generator().manual_seed(seed)
        self.clean = torch.randn(n, 5, generator=g) @ mixing
        self.seen = self.clean + 0.3 * torch.randn(n, 40, generator=g)

    def __len__(self):
        return len(self.seen)

    def __getitem__(self, i):
        return self.seen[i], self.seen[i]


class LinearAutoencoder(nn.Module):
    def __init__(self, sensors=40, sources=5):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(sensors, 24), nn.Linear(24, sources))
        self.decoder = nn.Sequential(nn.Linear(sources, 24), nn.Linear(24, sensors))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def parts(variant):
    torch.manual_seed(0)
    model = LinearAutoencoder()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9),
        "loss_fn": nn.MSELoss(),
        "train_loader": DataLoader(SensorArray(2000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(SensorArray(400, 2), batch_size=100),
    }


@torch.no_grad()
def explained(model, data):
    model.eval()
    value = 1 - (model(data.seen) - data.clean).square().mean() / data.clean.var()
    model.train()
    return value.item()


WORKS = lambda score: score > 0.95

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    test = p["val_loader"].dataset
    for epoch in range(15):
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: mse {loss.item():.4f}, of the clean signal {explained(model, test):.4f}")
    print(f"score: {explained(model, test):.4f}")
