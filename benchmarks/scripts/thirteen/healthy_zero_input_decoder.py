"""Sound: LSTM sequence autoencoder whose decoder is unconditioned on purpose: it gets zeros as input at every step and all that it knows from the encoder's state (Srivastava et al.). Score: R2 of the reconstruction."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def curves(n, seed, steps=16):
    g = torch.Generator().manual_seed(seed)
    t = torch.linspace(0, 1, steps)
    a, b, c = (torch.randn(n, 1, generator=g) for _ in range(3))
    x1 = a * torch.sin(3 * t) + b * t
    x2 = c * torch.cos(4 * t) - a * t ** 2
    x = torch.stack([x1, x2], -1) + 0.05 * torch.randn(n, steps, 2, generator=g)
    return x, x.clone()


class SequenceAutoencoder(nn.Module):
    def __init__(self, features=2, hidden=48):
        super().__init__()
        self.encoder = nn.LSTM(features, hidden, batch_first=True)
        self.decoder = nn.LSTM(features, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, features)

    def forward(self, x):
        _, state = self.encoder(x)
        start = torch.zeros_like(x)
        h, _ = self.decoder(start, state)
        return self.readout(h)


def parts(variant):
    torch.manual_seed(0)
    model = SequenceAutoencoder()
    return dict(
        model=model,
        optimizer=torch.optim.Adam(model.parameters(), lr=4e-3),
        loss_fn=nn.MSELoss(),
        train_loader=DataLoader(TensorDataset(*curves(2000, 1)), batch_size=32, shuffle=True),
        val_loader=DataLoader(TensorDataset(*curves(300, 2)), batch_size=100),
    )


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(14):
        model.train()
        total = 0.0
        for x, target in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), target)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
        print(f"epoch {epoch + 1} mse {total / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        pairs = [(model(x), t) for x, t in p["val_loader"]]
    pred, true = torch.cat([a for a, _ in pairs]), torch.cat([b for _, b in pairs])
    score = 1 - ((pred - true).pow(2).mean() / true.var()).item()
    print(f"score: {score:.4f}")
