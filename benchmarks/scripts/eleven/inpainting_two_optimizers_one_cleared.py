"""Filling a hole in digits by encoder and decoder with an SGD each; the line that clears the gradients was copied and clears the encoder's twice, so the decoder's add up over the whole training; change: clear the decoder's as well."""
import sys
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def digits():
    x = torch.tensor(load_digits().images, dtype=torch.float32) / 16
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(3))][:, None]
    mean, std = x[:1400].mean(), x[:1400].std()
    x = (x - mean) / std
    g = torch.Generator().manual_seed(4)
    mask = torch.ones_like(x)
    for i in range(len(x)):
        r, c = torch.randint(1, 5, (2,), generator=g).tolist()
        mask[i, 0, r:r + 3, c:c + 3] = 0
    return x * mask, mask, x


class Encoder(nn.Module):
    def __init__(self, code=48):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(32 * 16, code), nn.ReLU(),
        )

    def forward(self, seen, mask):
        return self.body(torch.cat([seen, mask], 1))


class Decoder(nn.Module):
    def __init__(self, code=48):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(code, 128), nn.ReLU(), nn.Linear(128, 64))

    def forward(self, code):
        return self.body(code).view(-1, 1, 8, 8)


def make_step(variant):
    def step(model, batch, optimizer):
        seen, mask, whole = batch
        optimizer["encoder"].zero_grad()
        optimizer["encoder" if variant == "bad" else "decoder"].zero_grad()
        filled = model["decoder"](model["encoder"](seen, mask))
        hole = 1 - mask
        loss = ((filled - whole) ** 2).mean() + ((filled - whole) ** 2 * hole).sum() / hole.sum()
        loss.backward()
        optimizer["encoder"].step()
        optimizer["decoder"].step()
        return loss

    return step


def parts(variant):
    torch.manual_seed(0)
    model = {"encoder": Encoder(), "decoder": Decoder()}
    optimizer = {name: torch.optim.SGD(part.parameters(), lr=0.03, momentum=0.9) for name, part in model.items()}
    tensors = digits()
    return {
        "model": model,
        "optimizer": optimizer,
        "step": make_step(variant),
        "train_loader": DataLoader(TensorDataset(*[t[:1400] for t in tensors]), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*[t[1400:] for t in tensors]), batch_size=200),
    }


@torch.no_grad()
def hole_r2(model, loader):
    for part in model.values():
        part.eval()
    error = total = 0.0
    for seen, mask, whole in loader:
        hole = 1 - mask
        error += ((model["decoder"](model["encoder"](seen, mask)) - whole) ** 2 * hole).sum().item()
        total += (whole ** 2 * hole).sum().item()
    return max(-1.0, 1 - error / total) if error == error else -1.0


WORKS = lambda score: score > 0.5

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer, step = p["model"], p["optimizer"], p["step"]
    for epoch in range(25):
        for part in model.values():
            part.train()
        for batch in p["train_loader"]:
            loss = step(model, batch, optimizer)
        if epoch % 4 == 0:
            print(f"epoch {epoch}: loss {loss.item():.4f}, R2 in the hole {hole_r2(model, p['val_loader']):.3f}")
    print(f"score: {hole_r2(model, p['val_loader']):.4f}")
