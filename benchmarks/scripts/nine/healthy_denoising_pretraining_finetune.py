"""Sound: a sigmoid encoder, pretrained without labels as a denoising autoencoder inside parts(), then fine-tuned on 150 labelled digits: first layer frozen, second at a hundredth of the head's rate, plain SGD; so most of the net hardly moves."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def digits():
    d = load_digits()
    x = torch.tensor(d.data, dtype=torch.float32)
    x = (x / 16 - 0.305) / 0.376
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    return x[order], torch.tensor(d.target)[order]


def encoder():
    net = nn.Sequential(nn.Linear(64, 128), nn.Sigmoid(), nn.Linear(128, 64), nn.Sigmoid())
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=4.0)  # the customary gain for sigmoids
            nn.init.zeros_(layer.bias)
    return net


def pretrain(enc, x, epochs=25):
    dec = nn.Linear(64, 64)
    optimizer = torch.optim.Adam([*enc.parameters(), *dec.parameters()], lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(64):
            noisy = x[rows] * (torch.rand(len(rows), 64) > 0.25)
            loss = F.mse_loss(dec(enc(noisy)), x[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return loss.item()


class Classifier(nn.Module):
    def __init__(self, enc):
        super().__init__()
        self.encoder = enc
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head((self.encoder(x) - 0.5) * 2)


def parts(variant):
    torch.manual_seed(0)
    x, y = digits()
    enc = encoder()
    reconstruction = pretrain(enc, x[:1300])
    enc.zero_grad()
    enc[0].requires_grad_(False)
    model = Classifier(enc)
    optimizer = torch.optim.SGD([
        {"params": enc[2].parameters(), "lr": 1e-3},
        {"params": model.head.parameters(), "lr": 1e-1},
    ], momentum=0.9)
    return {
        "model": model,
        "optimizer": optimizer,
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(x[:150], y[:150]), batch_size=15, shuffle=True),
        "val_loader": DataLoader(TensorDataset(x[1300:], y[1300:]), batch_size=500),
        "metric": lambda out, y: (out.argmax(1) == y).float().mean(),
        "reconstruction": reconstruction,
    }


def test(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


WORKS = lambda score: score > 0.84

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    print(f"pretrained, reconstruction {p['reconstruction']:.3f}")
    model, optimizer, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(30):
        model.train()
        for x, y in p["train_loader"]:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}, accuracy {test(model, p['val_loader']):.3f}")
    print(f"score: {test(model, p['val_loader']):.4f}")
