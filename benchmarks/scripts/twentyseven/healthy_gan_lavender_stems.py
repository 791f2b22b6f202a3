"""A GAN of lavender stems (length, flower head length and number of rings, three varieties); sliced Wasserstein distance to held-out stems. Nothing odd: non-saturating loss, fakes detached for the judge, one Adam each with beta1 0.5, both rates falling linearly."""
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
NOISE = 8


def cut_stems(n, g):
    centre = torch.tensor([[32.0, 4.0, 6.0], [45.0, 6.5, 8.0], [58.0, 5.0, 11.0]])
    spread = torch.tensor([[3.0, 0.5, 0.8], [4.0, 0.8, 0.7], [3.5, 0.5, 1.0]])
    kind = torch.multinomial(torch.tensor([0.4, 0.35, 0.25]), n, replacement=True, generator=g)
    vigour = torch.randn(n, 1, generator=g)
    own = torch.randn(n, 3, generator=g)
    return centre[kind] + spread[kind] * (0.6 * vigour + 0.8 * own)


def mlp(sizes, act):
    layers = []
    for a, b in zip(sizes[:-1], sizes[1:]):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


class AdversarialStep:
    """The judge and its optimizer live here; the model that is handed in is the generator."""

    def __init__(self):
        self.judge = mlp([3, 96, 96, 1], lambda: nn.LeakyReLU(0.2))
        self.opt = torch.optim.Adam(self.judge.parameters(), lr=1e-3, betas=(0.5, 0.99))
        self.bce = nn.BCEWithLogitsLoss()

    def __call__(self, generator, batch, optimizer):
        real = batch[0]
        n = len(real)
        fake = generator(torch.randn(n, NOISE))

        self.opt.zero_grad()
        on_real, on_fake = self.judge(real), self.judge(fake.detach())
        d_loss = self.bce(on_real, torch.ones(n, 1)) + self.bce(on_fake, torch.zeros(n, 1))
        d_loss.backward()
        self.opt.step()

        optimizer.zero_grad()
        g_loss = self.bce(self.judge(fake), torch.ones(n, 1))
        g_loss.backward()
        optimizer.step()
        return g_loss.detach()


def sliced_wasserstein(a, b, slices=200):
    d = torch.randn(3, slices, generator=torch.Generator().manual_seed(0))
    d = d / d.norm(dim=0)
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


def parts(variant):
    torch.manual_seed(2)
    g = torch.Generator().manual_seed(21)
    stems, held = cut_stems(4000, g), cut_stems(2000, g)
    mean, std = stems.mean(0), stems.std(0)
    generator = mlp([NOISE, 96, 96, 3], nn.ReLU)
    return {"model": generator, "optimizer": torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.99)),
            "step": AdversarialStep(),
            "train_loader": DataLoader(TensorDataset((stems - mean) / std), batch_size=128, shuffle=True, drop_last=True),
            "val_loader": DataLoader(TensorDataset((held - mean) / std), batch_size=2000)}


WORKS = lambda score: score < 0.35

if __name__ == "__main__":
    p = parts("fixed")
    schedulers = [torch.optim.lr_scheduler.LinearLR(o, 1.0, 0.05, total_iters=32) for o in (p["optimizer"], p["step"].opt)]
    for epoch in range(32):
        for batch in p["train_loader"]:
            loss = p["step"](p["model"], batch, p["optimizer"])
        for s in schedulers:
            s.step()
        if epoch % 8 == 7:
            held = next(iter(p["val_loader"]))[0]
            with torch.no_grad():
                score = sliced_wasserstein(p["model"](torch.randn(len(held), NOISE)), held)
            print(f"epoch {epoch}: generator loss {loss.item():.3f} distance {score:.3f}")
    print("score:", score)
