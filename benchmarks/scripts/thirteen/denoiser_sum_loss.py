"""Convolutional denoiser of digit images, SGD with momentum at 0.05; bad: MSELoss(reduction="sum"), so that the gradient grows with batch size and pixels and the run blows up; change: reduction="mean"."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class NoisyDigits(Dataset):
    def __init__(self, images, sigma=0.3, seed=0):
        self.clean = torch.as_tensor(images, dtype=torch.float32).unsqueeze(1) / 16
        g = torch.Generator().manual_seed(seed)
        self.noisy = self.clean + sigma * torch.randn(self.clean.shape, generator=g)

    def __len__(self):
        return len(self.clean)

    def __getitem__(self, i):
        return self.noisy[i], self.clean[i]


class Denoiser(nn.Module):
    def __init__(self, width=24):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, x):
        return self.body(x)


def parts(variant):
    torch.manual_seed(0)
    images = load_digits().images
    model = Denoiser()
    return {"model": model,
            "loss_fn": nn.MSELoss(reduction="sum" if variant == "bad" else "mean"),
            "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
            "train_loader": DataLoader(NoisyDigits(images[:1440], seed=1), batch_size=16, shuffle=True),
            "val_loader": DataLoader(NoisyDigits(images[1440:], seed=2), batch_size=119)}


WORKS = lambda score: score < 0.6     # error left, as a share of the noise

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, criterion, optimizer = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(12):
        model.train()
        total = 0.0
        for noisy, clean in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(noisy), clean)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch}: {total / len(p['train_loader']):.5f}")
    model.eval()
    left = noise = 0.0
    with torch.no_grad():
        for noisy, clean in p["val_loader"]:
            left += (model(noisy) - clean).pow(2).sum().item()
            noise += (noisy - clean).pow(2).sum().item()
    score = left / noise
    print(f"score: {score:.4f}")
