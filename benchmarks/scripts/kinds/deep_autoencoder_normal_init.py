"""Ten-layer ReLU autoencoder of digits, weights drawn from N(0, 0.01): the signal dies on its way and the net outputs the mean; change: `fixed` uses Kaiming initialisation."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

WORKS = lambda score: score > 0.5


def get_data():
    x = torch.tensor(load_digits().data, dtype=torch.float32)
    x = x[:, x.std(0) > 0.5]
    x = (x - x.mean(0)) / x.std(0)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(7))]
    return x[:1500], x[1500:]


class AutoEncoder(nn.Module):
    def __init__(self, d, variant):
        super().__init__()
        widths = [d, 96, 96, 64, 64, 20]
        enc, dec = [], []
        for a, b in zip(widths[:-1], widths[1:]):
            enc += [nn.Linear(a, b), nn.ReLU()]
        back = widths[::-1]
        for a, b in zip(back[:-1], back[1:]):
            dec += [nn.Linear(a, b), nn.ReLU()]
        self.encoder = nn.Sequential(*enc[:-1])
        self.decoder = nn.Sequential(*dec[:-1])
        self.variant = variant
        self.apply(self.init_weights)

    def init_weights(self, m):
        if isinstance(m, nn.Linear):
            if self.variant == "fixed":
                nn.init.kaiming_normal_(m.weight, nonlinearity="relu")
            else:
                nn.init.normal_(m.weight, mean=0.0, std=0.01)
            nn.init.zeros_(m.bias)

    def forward(self, x):
        return self.decoder(self.encoder(x))


def parts(variant):
    torch.manual_seed(0)
    a, b = get_data()
    model = AutoEncoder(a.shape[1], variant)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9), "loss_fn": nn.MSELoss(),
            "train_loader": DataLoader(TensorDataset(a, a), batch_size=50, shuffle=True), "val_loader": DataLoader(TensorDataset(b, b), batch_size=297)}


if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(60):
        model.train()
        tot = 0
        for x, target in p["train_loader"]:
            loss = p["loss_fn"](model(x), target)
            opt.zero_grad()
            loss.backward()
            opt.step()
            tot += loss.item()
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                x, _ = next(iter(p["val_loader"]))
                r2 = 1 - ((model(x) - x) ** 2).mean() / x.var()
            print(f"epoch {epoch + 1} mse {tot / 30:.4f} val R2 {r2:.3f}")
    print(f"score: {r2.item():.4f}")
