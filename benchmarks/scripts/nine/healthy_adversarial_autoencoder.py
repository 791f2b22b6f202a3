"""Sound: an adversarial autoencoder of digits; a critic holds the two-number codes to a standard normal, so the critic's loss stands at ln 2 and the encoder's game never ends while the reconstruction goes down slowly."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

CODE = 4


class AutoEncoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64), nn.LeakyReLU(0.2), nn.Linear(64, CODE))
        self.decode = nn.Sequential(nn.Linear(CODE, 64), nn.LeakyReLU(0.2), nn.Linear(64, 128), nn.LeakyReLU(0.2), nn.Linear(128, 64))

    def forward(self, x):
        return self.decode(self.encode(x))


def digits():
    x = torch.tensor(load_digits().data, dtype=torch.float32)
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    m, s = x[:1500].mean(), x[:1500].std()
    return (x[:1500] - m) / s, (x[1500:] - m) / s


def step(model, batch, optimizer):
    ae, critic = model["autoencoder"], model["critic"]
    x = batch[0]
    code = ae.encode(x)
    rec = F.mse_loss(ae.decode(code), x)
    fool = F.binary_cross_entropy_with_logits(critic(code), torch.ones(len(x), 1))
    loss = rec + 0.05 * fool
    optimizer["autoencoder"].zero_grad()
    loss.backward()
    optimizer["autoencoder"].step()

    optimizer["critic"].zero_grad()                  # what the encoder's turn left in the critic goes too
    real, fake = critic(torch.randn(len(x), CODE)), critic(code.detach())
    judge = 0.5 * (F.binary_cross_entropy_with_logits(real, torch.ones_like(real))
                   + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake)))
    judge.backward()
    optimizer["critic"].step()
    return loss


def parts(variant):
    torch.manual_seed(0)
    ae = AutoEncoder()
    critic = nn.Sequential(nn.Linear(CODE, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
    train, test = digits()
    return {
        "model": {"autoencoder": ae, "critic": critic},
        "optimizer": {"autoencoder": torch.optim.Adam(ae.parameters(), lr=1e-3, betas=(0.5, 0.999)),
                      "critic": torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.999))},
        "step": step,
        "train_loader": DataLoader(TensorDataset(train), batch_size=50, shuffle=True),
        "val_loader": DataLoader(TensorDataset(test), batch_size=300),
    }


@torch.no_grad()
def judge(ae, loader):
    """Variance explained on unseen digits, less what the codes are off a standard normal."""
    x = torch.cat([b[0] for b in loader])
    z = ae.encode(x)
    explained = 1 - ((ae.decode(z) - x) ** 2).mean() / ((x - x.mean(0)) ** 2).mean()
    off = z.mean(0).abs().mean() + (z.std(0) - 1).abs().mean()
    return explained.item(), off.item()


WORKS = lambda score: score > 0.3

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(60):
        for batch in p["train_loader"]:
            loss = step(p["model"], batch, p["optimizer"])
        if epoch % 10 == 9:
            e, off = judge(p["model"]["autoencoder"], p["val_loader"])
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}, explained {e:.3f}, codes off by {off:.3f}")
    e, off = judge(p["model"]["autoencoder"], p["val_loader"])
    print(f"score: {e - off:.4f}")
