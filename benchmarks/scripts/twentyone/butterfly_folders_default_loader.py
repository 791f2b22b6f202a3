"""CNN on wing images read folder after folder; the mistake (bad): the parameters of the training loader are passed without shuffle, so the net sees one species for many batches on end; change: "shuffle": True among them."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

SPECIES = 6


def wing(species, g, size=20):
    yy, xx = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    jitter = torch.randn(4, generator=g) * 0.12
    r = ((xx + jitter[0]) ** 2 + (yy + jitter[1]) ** 2).sqrt()
    ang = torch.atan2(yy + jitter[1], xx + jitter[0])
    rings, rays = 4 + 3 * (species % 3), 3 + 3 * (species // 3)
    phase = torch.rand(1, generator=g) * 6.283
    pattern = torch.sin(rings * r * (1 + jitter[2]) + phase) + torch.cos(rays * ang + 6.283 * jitter[3])
    rgb = torch.stack([pattern, pattern * torch.exp(-r), r])
    return rgb + 0.4 * torch.randn(3, size, size, generator=g)


class WingFolder(Dataset):
    """species_0/000.png ... species_5/299.png, in the order of the folders"""

    def __init__(self, per_species, seed):
        g = torch.Generator().manual_seed(seed)
        self.samples = [(wing(s, g), s) for s in range(SPECIES) for _ in range(per_species)]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        return self.samples[i]


def wings_train(dataloader_params):
    return DataLoader(WingFolder(250, 1), **dataloader_params)


def wings_val(dataloader_params):
    return DataLoader(WingFolder(50, 2), **dataloader_params)


def net(c=24):
    return nn.Sequential(
        nn.Conv2d(3, c, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2 * c * 25, 64), nn.ReLU(), nn.Linear(64, SPECIES))


def parts(variant):
    torch.manual_seed(0)
    params = {"batch_size": 32}
    if variant != "bad":
        params["shuffle"] = True
    model = net()
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-4),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": wings_train(params),
        "val_loader": wings_val({"batch_size": 100}),
    }


WORKS = lambda score: score > 0.8  # accuracy


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return torch.cat([model(x).argmax(1) == y for x, y in loader]).float().mean().item()


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(10):
        p["model"].train()
        seen, total = 0, 0.0
        for images, species in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](p["model"](images), species)
            loss.backward()
            p["optimizer"].step()
            total += loss.item() * len(species)
            seen += len(species)
        print(f"epoch {epoch + 1}: loss {total / seen:.4f}, val {accuracy(p['model'], p['val_loader']):.3f}")
    print(f"score: {accuracy(p['model'], p['val_loader']):.4f}")
