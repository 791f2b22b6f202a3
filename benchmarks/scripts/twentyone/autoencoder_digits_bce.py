"""Dense autoencoder on the 8x8 digits with BCEWithLogitsLoss; mistake: the pictures are standardised (mean 0, std 1) as for a classifier, so that the targets lie outside 0..1; the loss falls far below 0 without end and the pictures come back as black and white blots; change: pixels divided by 16."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import Dataset, DataLoader
from sklearn.datasets import load_digits


class DigitImages(Dataset):
    def __init__(self, images, transform):
        self.images = torch.tensor(images, dtype=torch.float32)
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        x = self.transform(self.images[i])
        return x, x


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

    def __call__(self, img):
        return (img / 16.0 - self.mean) / self.std


class Autoencoder(nn.Module):
    def __init__(self, code=12):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, code))
        self.decoder = nn.Sequential(nn.Linear(code, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def parts(variant):
    torch.manual_seed(0)
    transform = Normalize(0.305, 0.376) if variant == "bad" else Normalize(0.0, 1.0)
    images = load_digits().images.reshape(-1, 64)
    order = torch.randperm(len(images)).numpy()
    train, val = images[order[:1400]], images[order[1400:]]
    model = Autoencoder()
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=3e-3), loss_fn=nn.BCEWithLogitsLoss(),
                train_loader=DataLoader(DigitImages(train, transform), batch_size=64, shuffle=True),
                val_loader=DataLoader(DigitImages(val, transform), batch_size=64))


WORKS = lambda score: score > 0.6   # explained pixel variance of held-out digits, sigmoid of the output against pixel/16

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, loss_fn, opt = p["model"], p["loss_fn"], p["optimizer"]
    for epoch in range(40):
        model.train()
        epoch_loss = 0.0
        for x, target in p["train_loader"]:
            out = model(x)
            loss = loss_fn(out, target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            epoch_loss += loss.item() * x.size(0)
        if epoch % 5 == 0:
            print(f"epoch {epoch:2d}: {epoch_loss / len(p['train_loader'].dataset):.4f}")
    model.eval()
    with torch.no_grad():
        recon = torch.cat([torch.sigmoid(model(x)) for x, _ in p["val_loader"]])
    pixels = p["val_loader"].dataset.images / 16.0
    score = (1 - ((recon - pixels) ** 2).sum() / ((pixels - pixels.mean(0)) ** 2).sum()).item()
    print(f"score: {score:.4f}")
