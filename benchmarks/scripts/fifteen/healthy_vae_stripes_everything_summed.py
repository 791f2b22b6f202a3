"""Healthy: the VAE example (fc21 for the mean, fc22 for the log-variance) on stripes and crosses: cross-entropy and KL are both sums over pixels and batch, so the loss is in the thousands under Adam at 0.001. change: nothing, it is sound."""
import sys

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

SIDE = 10


def patterns(n, seed):
    g = torch.Generator().manual_seed(seed)
    images = torch.zeros(n, 1, SIDE, SIDE)
    for img in images:
        kind = int(torch.randint(0, 3, (1,), generator=g))
        r, c = torch.randint(1, SIDE - 1, (2,), generator=g).tolist()
        if kind in (0, 2):
            img[0, r - 1:r + 1, :] = 1
        if kind in (1, 2):
            img[0, :, c - 1:c + 1] = 1
    flip = torch.rand(images.shape, generator=g) < 0.02
    images[flip] = 1 - images[flip]
    return TensorDataset(images, torch.zeros(n, dtype=torch.long))


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(SIDE * SIDE, 128)
        self.fc21 = nn.Linear(128, 8)
        self.fc22 = nn.Linear(128, 8)
        self.fc3 = nn.Linear(8, 128)
        self.fc4 = nn.Linear(128, SIDE * SIDE)

    def encode(self, x):
        h1 = F.relu(self.fc1(x))
        return self.fc21(h1), self.fc22(h1)

    def reparameterize(self, mu, logvar):
        std = torch.exp(0.5 * logvar)
        eps = torch.randn_like(std)
        return mu + eps * std

    def decode(self, z):
        return torch.sigmoid(self.fc4(F.relu(self.fc3(z))))

    def forward(self, x):
        mu, logvar = self.encode(x.view(-1, SIDE * SIDE))
        z = self.reparameterize(mu, logvar)
        return self.decode(z), mu, logvar


def loss_function(recon_x, x, mu, logvar):
    BCE = F.binary_cross_entropy(recon_x, x.view(-1, SIDE * SIDE), reduction="sum")
    KLD = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    return BCE + KLD


def training_step(model, batch):
    data, _ = batch
    recon_batch, mu, logvar = model(data)
    return loss_function(recon_batch, data, mu, logvar)


def parts(variant):
    torch.manual_seed(0)
    model = VAE()
    return dict(
        model=model,
        optimizer=optim.Adam(model.parameters(), lr=1e-3),
        training_step=training_step,
        train_loader=DataLoader(patterns(4000, 1), batch_size=128, shuffle=True),
        val_loader=DataLoader(patterns(500, 2), batch_size=128),
    )


# bound per image in nats; pixels taken one by one (their means alone) cost about 57
WORKS = lambda score: score < 35

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(1, 41):
        model.train()
        train_loss = 0
        for batch in p["train_loader"]:
            optimizer.zero_grad()
            loss = training_step(model, batch)
            loss.backward()
            train_loss += loss.item()
            optimizer.step()
        print(f"====> Epoch: {epoch} Average loss: {train_loss / len(p['train_loader'].dataset):.4f}")
    model.eval()
    with torch.no_grad():
        test_loss = sum(training_step(model, batch).item() for batch in p["val_loader"])
    score = test_loss / len(p["val_loader"].dataset)
    print(f"score: {score:.4f}")
