"""Spoken commands by a bidirectional LSTM: h_n of shape (2, batch, hidden) is brought to (batch, 2 * hidden) with view, which mixes the examples; change: torch.cat of the two directions."""
import sys
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def synth(n, seed):
    """Five words: each a path of two formants over 30 frames of 12 filters, in noise."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 5, (n,), generator=g)
    starts = torch.tensor([[2., 8.], [5., 5.], [3., 3.], [9., 9.], [2., 10.]])
    ends = torch.tensor([[8., 2.], [2., 9.], [9., 9.], [3., 3.], [2., 10.]])
    t = torch.linspace(0, 1, 30)[None, :, None]
    path = starts[y][:, None] * (1 - t) + ends[y][:, None] * t
    path = path + torch.randn(n, 1, 2, generator=g) * 0.7
    bins = torch.arange(12.)[None, None, :, None]
    mel = torch.exp(-0.5 * (bins - path[:, :, None, :]) ** 2).sum(-1)
    mel = mel + 0.3 * torch.randn(n, 30, 12, generator=g)
    return TensorDataset(mel - mel.mean(), y)


class CommandNet(nn.Module):
    def __init__(self, n_mels=12, hidden=40, n_words=5, join="cat"):
        super().__init__()
        self.rnn = nn.LSTM(n_mels, hidden, batch_first=True, bidirectional=True)
        self.classifier = nn.Sequential(nn.Linear(2 * hidden, 64), nn.ReLU(), nn.Linear(64, n_words))
        self.join = join

    def forward(self, x):
        _, (h_n, _) = self.rnn(x)
        if self.join == "cat":
            summary = torch.cat([h_n[0], h_n[1]], dim=1)
        else:
            summary = h_n.view(x.size(0), -1)
        return self.classifier(summary)


def parts(variant):
    torch.manual_seed(0)
    model = CommandNet(join="view" if variant == "bad" else "cat")
    return {"model": model,
            "optimizer": optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(synth(1500, 3), batch_size=32, shuffle=True, drop_last=True),
            "val_loader": DataLoader(synth(320, 4), batch_size=32)}


WORKS = lambda score: score > 0.8


class Trainer:
    def __init__(self, p):
        self.model, self.opt, self.loss_fn = p["model"], p["optimizer"], p["loss_fn"]
        self.train_loader, self.val_loader = p["train_loader"], p["val_loader"]

    def fit_epoch(self):
        self.model.train()
        s = 0.0
        for x, y in self.train_loader:
            self.opt.zero_grad(set_to_none=True)
            loss = self.loss_fn(self.model(x), y)
            loss.backward()
            self.opt.step()
            s += loss.item()
        return s / len(self.train_loader)

    @torch.inference_mode()
    def validate(self):
        self.model.eval()
        ok = total = 0
        for x, y in self.val_loader:
            ok += int((self.model(x).argmax(-1) == y).sum())
            total += len(y)
        return ok / total


if __name__ == "__main__":
    trainer = Trainer(parts(sys.argv[1] if len(sys.argv) > 1 else "bad"))
    for e in range(10):
        print(f"epoch {e}: train loss {trainer.fit_epoch():.3f}, val accuracy {trainer.validate():.3f}")
    print(f"score: {trainer.validate():.4f}")
