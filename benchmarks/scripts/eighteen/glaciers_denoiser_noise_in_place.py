"""Convolutional denoising autoencoder for glacier photographs; the noise is added with add_, so the picture that the output is compared with is noisy too. change: the noise goes into a new tensor."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


def photographs(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = F.interpolate(torch.randn(n, 1, 4, 4, generator=g), size=24, mode="bicubic")
    x = torch.sigmoid(2 * x)
    return TensorDataset(x)


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(),
                                     nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU())
        self.decoder = nn.Sequential(nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.ReLU(),
                                     nn.ConvTranspose2d(16, 16, 4, stride=2, padding=1), nn.ReLU(),
                                     nn.Conv2d(16, 1, 3, padding=1))

    def forward(self, x):
        return self.decoder(self.encoder(x)) + x


def parts(variant):
    torch.manual_seed(0)
    model = Denoiser()

    def training_step(model, batch):
        clean = batch[0]
        noise = 0.25 * torch.randn_like(clean)
        noisy = clean.add_(noise) if variant == "bad" else clean.add(noise)
        return F.mse_loss(model(noisy), clean)

    return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=2e-3), "training_step": training_step,
            "train_loader": DataLoader(photographs(1200, 1), batch_size=40, shuffle=True),
            "val_loader": DataLoader(photographs(200, 2), batch_size=50)}


WORKS = lambda score: score > 18.0

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(12):
        model.train()
        total = 0
        for batch in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["training_step"](model, batch)
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch} mse {total / len(p['train_loader']):.5f}")
    model.eval()
    torch.manual_seed(99)
    with torch.no_grad():
        errors = [F.mse_loss(model(x + 0.25 * torch.randn_like(x)), x) for (x,) in p["val_loader"]]
    score = -10 * torch.stack(errors).mean().log10().item()
    print(f"score: {score:.4f}")
