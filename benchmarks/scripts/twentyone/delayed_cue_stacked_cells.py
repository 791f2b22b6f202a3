"""Layer-normalised LSTM cells, stacked, that remember which cue came at the start of a long noisy sequence; the mistake (bad): the cells are appended to a Python list, so their parameters are not those of the net and never reach the optimizer; change: nn.ModuleList."""
import sys
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

CUES, STEPS = 8, 24


def trials(n, seed):
    g = torch.Generator().manual_seed(seed)
    x = 0.5 * torch.randn(n, STEPS, CUES + 2, generator=g)
    cue = torch.randint(0, CUES, (n,), generator=g)
    onset = torch.randint(0, 5, (n,), generator=g)
    rows = torch.arange(n)
    x[:, :, CUES:] = 0.0
    x[rows, onset, cue] += 3.0
    x[rows, onset, CUES] = 1.0
    x[:, -1, CUES + 1] = 1.0
    return TensorDataset(x, cue)


class LayerNormLSTMCell(nn.Module):
    def __init__(self, n_in, n_hidden):
        super().__init__()
        self.ih = nn.Linear(n_in, 4 * n_hidden)
        self.hh = nn.Linear(n_hidden, 4 * n_hidden, bias=False)
        self.ln_ih = nn.LayerNorm(4 * n_hidden)
        self.ln_hh = nn.LayerNorm(4 * n_hidden)
        self.ln_c = nn.LayerNorm(n_hidden)

    def forward(self, x, state):
        h, c = state
        i, f, g, o = (self.ln_ih(self.ih(x)) + self.ln_hh(self.hh(h))).chunk(4, -1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(self.ln_c(c)), c


class CueNet(nn.Module):
    def __init__(self, hidden=40, num_layers=2, plain=False):
        super().__init__()
        self.hidden = hidden
        self.inp = nn.Sequential(nn.Linear(CUES + 2, hidden), nn.LayerNorm(hidden))
        self.lstms = [] if plain else nn.ModuleList()
        for _ in range(num_layers):
            self.lstms.append(LayerNormLSTMCell(hidden, hidden))
        self.readout = nn.Linear(hidden, CUES)

    def forward(self, x):
        states = [(x.new_zeros(len(x), self.hidden),) * 2 for _ in self.lstms]
        for t in range(x.size(1)):
            h = self.inp(x[:, t])
            for k, cell in enumerate(self.lstms):
                states[k] = cell(h, states[k])
                h = states[k][0]
        return self.readout(h)


def parts(variant):
    torch.manual_seed(0)
    model = CueNet(plain=variant == "bad")
    return {
        "model": model,
        "optimizer": torch.optim.Adam(model.parameters(), lr=3e-3),
        "loss_fn": nn.CrossEntropyLoss(),
        "train_loader": DataLoader(trials(2000, 1), batch_size=50, shuffle=True),
        "val_loader": DataLoader(trials(400, 2), batch_size=200),
    }


WORKS = lambda score: score > 0.9  # share of cues remembered

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, opt, criterion = p["model"], p["optimizer"], p["loss_fn"]
    for epoch in range(12):
        model.train()
        running = 0.0
        for x, cue in p["train_loader"]:
            loss = criterion(model(x), cue)
            opt.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            running += loss.item()
        print(f"epoch {epoch + 1} loss {running / len(p['train_loader']):.4f}")
    model.eval()
    with torch.no_grad():
        right = torch.cat([model(x).argmax(1) == cue for x, cue in p["val_loader"]])
    print(f"score: {right.float().mean().item():.4f}")
