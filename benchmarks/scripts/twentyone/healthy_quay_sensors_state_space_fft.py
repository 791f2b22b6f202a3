"""Long quay-sensor records (256 steps) classified by the delay between two far-apart pulses with diagonal state-space layers, complex poles and FFT convolution; one parameter group for the poles without decay."""
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH, CLASSES = 256, 4


def records(n, seed):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, CLASSES, (n,), generator=g)
    t = torch.arange(LENGTH).float()
    first = torch.randint(10, 60, (n, 1), generator=g)
    second = first + 40 + 40 * y.unsqueeze(1) + torch.randint(-8, 9, (n, 1), generator=g)
    pulse = lambda at: torch.exp(-((t - at) / 3.0) ** 2)
    x = 1.5 * pulse(first) + 1.5 * pulse(second) + 0.15 * torch.randn(n, LENGTH, generator=g)
    return x.unsqueeze(-1), y


class DiagonalStateSpace(nn.Module):
    def __init__(self, width, states=16):
        super().__init__()
        self.log_step = nn.Parameter(torch.rand(width, 1) * 3.5 - 5.5)
        self.log_decay = nn.Parameter(torch.full((width, states), -0.7))
        self.frequency = nn.Parameter(torch.pi * torch.arange(states).float().repeat(width, 1))
        self.c = nn.Parameter(torch.randn(width, states, 2) * states ** -0.5)
        self.skip = nn.Parameter(torch.ones(width))

    def kernel(self, length):
        pole = torch.complex(-self.log_decay.exp(), self.frequency)
        z = pole * self.log_step.exp()
        weight = torch.view_as_complex(self.c) * (z.exp() - 1) / pole
        powers = (z.unsqueeze(-1) * torch.arange(length)).exp()
        return 2 * torch.einsum("hn,hnl->hl", weight, powers).real

    def forward(self, u):
        length = u.shape[1]
        u = u.transpose(1, 2)
        spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(self.kernel(length), n=2 * length)
        y = torch.fft.irfft(spectrum, n=2 * length)[..., :length]
        return (y + u * self.skip.unsqueeze(-1)).transpose(1, 2)


class SensorNet(nn.Module):
    def __init__(self, width=32, layers=2):
        super().__init__()
        self.inp = nn.Linear(1, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(layers)])
        self.mixers = nn.ModuleList([DiagonalStateSpace(width) for _ in range(layers)])
        self.gates = nn.ModuleList([nn.Sequential(nn.Linear(width, 2 * width), nn.GLU()) for _ in range(layers)])
        self.out = nn.Linear(width, CLASSES)

    def forward(self, x):
        h = self.inp(x)
        for norm, mixer, gate in zip(self.norms, self.mixers, self.gates):
            h = h + gate(nn.functional.gelu(mixer(norm(h))))
        return self.out(h.mean(1))


def parts(variant):
    torch.manual_seed(0)
    model = SensorNet()
    poles = [p for n, p in model.named_parameters() if n.endswith(("log_step", "log_decay", "frequency"))]
    rest = [p for n, p in model.named_parameters() if not n.endswith(("log_step", "log_decay", "frequency"))]
    return {
        "model": model,
        "optimizer": torch.optim.AdamW([{"params": poles, "lr": 1e-3, "weight_decay": 0.0}, {"params": rest, "lr": 4e-3, "weight_decay": 0.01}]),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(TensorDataset(*records(1600, 1)), batch_size=32, shuffle=True),
        "val_loader": DataLoader(TensorDataset(*records(400, 2)), batch_size=200),
    }


WORKS = lambda score: score > 0.9

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt = p["model"], p["optimizer"]
    for epoch in range(8):
        model.train()
        total = 0.0
        for x, y in p["train_loader"]:
            opt.zero_grad()
            loss = p["loss_fn"](model(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            score = torch.cat([(model(x).argmax(1) == y).float() for x, y in p["val_loader"]]).mean().item()
        print(f"epoch {epoch} loss {total / len(p['train_loader']):.4f} accuracy {score:.4f}")
    print(f"score: {score:.4f}")
