"""GRU autoencoder of mouse poses (nose, paws, tail) with a switch for the schedule; the mistake (bad): with the switch off the StepLR gets gamma=0, and after step_size epochs the rate is zero; change: gamma=1 when the switch is off."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

cfg = {"scheduler": 0, "scheduler_step_size": 2, "scheduler_gamma": 0.5, "learning_rate": 2e-3,
       "epochs": 20, "time_window": 20, "num_features": 8, "zdims": 12}


def poses(n, seed):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(cfg["time_window"]).float()
    speed = 0.15 + 0.5 * torch.rand(n, 1, 1, generator=g)
    phase = 6.283 * torch.rand(n, 1, 1, generator=g)
    lag = torch.linspace(0, 3, cfg["num_features"])[None, None]
    amp = 0.5 + torch.rand(n, 1, cfg["num_features"], generator=g)
    x = amp * torch.sin(speed * t[None, :, None] + phase + lag)
    return TensorDataset(x + 0.05 * torch.randn(x.shape, generator=g))


class PoseAutoencoder(nn.Module):
    def __init__(self, hidden=64):
        super().__init__()
        self.enc = nn.GRU(cfg["num_features"], hidden, batch_first=True)
        self.latent = nn.Linear(hidden, cfg["zdims"])
        self.dec = nn.GRU(cfg["zdims"], hidden, batch_first=True)
        self.out = nn.Linear(hidden, cfg["num_features"])

    def forward(self, x):
        _, h = self.enc(x)
        z = self.latent(h[-1])
        seq, _ = self.dec(z[:, None].expand(-1, x.size(1), -1))
        return self.out(seq)


def parts(variant):
    torch.manual_seed(0)
    model = PoseAutoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=cfg["learning_rate"])
    unused = 0 if variant == "bad" else 1
    gamma = cfg["scheduler_gamma"] if cfg["scheduler"] else unused
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=cfg["scheduler_step_size"], gamma=gamma)

    def training_step(model, batch):
        (x,) = batch
        return nn.functional.mse_loss(model(x), x)

    return {"model": model, "optimizer": optimizer, "scheduler": scheduler, "training_step": training_step,
            "train_loader": DataLoader(poses(3000, 1), batch_size=64, shuffle=True),
            "val_loader": DataLoader(poses(400, 2), batch_size=100)}


WORKS = lambda score: score < 0.3  # squared error of the reconstruction over the variance

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, scheduler = p["model"], p["optimizer"], p["scheduler"]
    for epoch in range(1, cfg["epochs"] + 1):
        model.train()
        epoch_loss = 0.0
        for batch in p["train_loader"]:
            loss = p["training_step"](model, batch)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            epoch_loss += loss.item()
        scheduler.step()
        print("epoch %d, loss %.4f" % (epoch, epoch_loss / len(p["train_loader"])))
    model.eval()
    with torch.no_grad():
        err = torch.cat([(model(x) - x).pow(2) for (x,) in p["val_loader"]]).mean()
        var = torch.cat([x for (x,) in p["val_loader"]]).var()
    print(f"score: {(err / var).item():.4f}")
