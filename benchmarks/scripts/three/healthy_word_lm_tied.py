"""Healthy: word model with tied embedding and decoder, plain SGD at rate 10, every gradient clipped to 0.25, rate cut on a plateau."""
import sys
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

BPTT = 20


def story(words=26000):
    """Second-order chain: the next word depends on the last two, two choices mostly."""
    g = torch.Generator().manual_seed(17)
    vocab = 40
    table = torch.randint(0, vocab, (vocab, 4, 2), generator=g)
    ids = [0, 1]
    coin = torch.rand(words, generator=g).tolist()
    for c in coin:
        a, b = ids[-2], ids[-1]
        ids.append(int(table[b, a % 4, 0 if c < 0.8 else 1]))
    return torch.tensor(ids), vocab


class TiedLSTM(nn.Module):
    def __init__(self, vocab, d=64):
        super().__init__()
        self.encoder = nn.Embedding(vocab, d)
        self.rnn = nn.LSTM(d, d, batch_first=True)
        self.decoder = nn.Linear(d, vocab)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        self.decoder.weight = self.encoder.weight

    def forward(self, x):
        return self.decoder(self.rnn(self.encoder(x))[0])


def parts(variant="fixed"):
    torch.manual_seed(0)
    ids, vocab = story()
    n = (len(ids) - 1) // BPTT
    x, y = ids[:n * BPTT].view(n, BPTT), ids[1:n * BPTT + 1].view(n, BPTT)
    cut = n * 9 // 10
    model = TiedLSTM(vocab)
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    criterion = lambda out, y: F.cross_entropy(out.flatten(0, 1), y.flatten())

    def step(model, batch, optimizer):
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        optimizer.step()
        return loss

    return {"model": model, "optimizer": optimizer, "loss_fn": criterion, "step": step,
            "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.25, patience=0),
            "train_loader": DataLoader(TensorDataset(x[:cut], y[:cut]), batch_size=20, shuffle=True),
            "val_loader": DataLoader(TensorDataset(x[cut:], y[cut:]), batch_size=200)}


WORKS = lambda score: score > 0.6        # next words guessed; the best possible is about 0.8

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(16):
        p["model"].train()
        train = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        p["model"].eval()
        with torch.no_grad():
            outs = [(p["model"](x), y) for x, y in p["val_loader"]]
        val = sum(p["loss_fn"](o, y).item() for o, y in outs) / len(outs)
        acc = sum((o.argmax(-1) == y).float().mean().item() for o, y in outs) / len(outs)
        p["scheduler"].step(val)
        print(f"| end of epoch {epoch:2d} | train {sum(train) / len(train):.3f} | valid {val:.3f} | acc {acc:.3f} | lr {p['optimizer'].param_groups[0]['lr']}")
    print(f"score: {acc:.4f}")
