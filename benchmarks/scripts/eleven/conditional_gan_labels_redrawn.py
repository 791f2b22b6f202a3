"""Conditional GAN on sklearn's digits; the labels drawn for the generated images are put under the name of the batch's own labels before the discriminator sees the real images, so real images go with random labels; change: another name."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, TensorDataset

Z = 24


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.label = nn.Embedding(10, 16)
        self.net = nn.Sequential(
            nn.Linear(Z + 16, 128), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, 64), nn.Tanh())

    def forward(self, z, y):
        return self.net(torch.cat([z, self.label(y)], 1))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.label = nn.Embedding(10, 16)
        self.net = nn.Sequential(
            nn.Linear(64 + 16, 160), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Linear(160, 160), nn.LeakyReLU(0.2), nn.Dropout(0.2),
            nn.Linear(160, 1))

    def forward(self, x, y):
        return self.net(torch.cat([x, self.label(y)], 1)).squeeze(1)


def adversarial(logits, real):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def parts(variant):
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 8 - 1
    y = torch.tensor(digits.target)
    models = {"generator": Generator(), "discriminator": Discriminator()}
    optimizers = {name: torch.optim.Adam(m.parameters(), lr=1e-3, betas=(0.5, 0.999)) for name, m in models.items()}

    def step(model, batch, optimizer):
        gen, dis = model["generator"], model["discriminator"]
        images, labels = batch
        wanted = torch.randint(0, 10, labels.shape)
        if variant == "bad":
            labels = wanted
        fake = gen(torch.randn(len(images), Z), wanted)

        optimizer["discriminator"].zero_grad()
        d_loss = adversarial(dis(images, labels), 0.9) + adversarial(dis(fake.detach(), wanted), 0)
        d_loss.backward()
        optimizer["discriminator"].step()

        optimizer["generator"].zero_grad()
        g_loss = adversarial(dis(fake, wanted), 1)
        g_loss.backward()
        optimizer["generator"].step()
        return d_loss.detach() + g_loss.detach()

    return {
        "model": models,
        "optimizer": optimizers,
        "train_loader": DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True, drop_last=True),
        "step": step,
    }


WORKS = lambda score: score > 0.6


def agreement(gen):
    """share of generated digits that a classifier of real digits reads as the digit asked for"""
    digits = load_digits()
    reader = LogisticRegression(max_iter=500).fit(digits.data / 8 - 1, digits.target)
    gen.eval()
    wanted = torch.arange(10).repeat(60)
    with torch.no_grad():
        made = gen(torch.randn(len(wanted), Z, generator=torch.Generator().manual_seed(3)), wanted)
    gen.train()
    return float((reader.predict(made.numpy()) == wanted.numpy()).mean())


if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(1, 31):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        if epoch % 5 == 0:
            print(f"epoch {epoch}: losses {loss.item():.3f}, agreement {agreement(p['model']['generator']):.3f}")
    print(f"score: {agreement(p['model']['generator']):.4f}")
