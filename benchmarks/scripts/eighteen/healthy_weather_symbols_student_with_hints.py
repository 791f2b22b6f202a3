"""Sound: a small GRU learns from a frozen larger one: temperature 4, a tenth of the weight on the labels, and a regression of the student's state on the teacher's (hint) through a layer that is thrown away later. change: nothing."""
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SYMBOLS, DAYS, KINDS = 9, 18, 4


def weeks(n, seed):
    """Each kind of weather walks through the symbols by its own table of transitions."""
    table = torch.softmax(2.0 * torch.randn(KINDS, SYMBOLS, SYMBOLS, generator=torch.Generator().manual_seed(77)), 2)
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, KINDS, (n,), generator=g)
    x = torch.randint(0, SYMBOLS, (n, 1), generator=g)
    for _ in range(DAYS - 1):
        x = torch.cat([x, torch.multinomial(table[y, x[:, -1]], 1, generator=g)], 1)
    return TensorDataset(x, y)


class WeatherGRU(nn.Module):
    def __init__(self, emb, hidden, dropout=0.0):
        super().__init__()
        self.emb = nn.Embedding(SYMBOLS, emb)
        self.gru = nn.GRU(emb, hidden, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.cls = nn.Linear(hidden, KINDS)

    def forward(self, x):
        o, _ = self.gru(self.emb(x))
        state = o.mean(1)
        return self.cls(self.drop(state)), state


class Distiller(nn.Module):
    def __init__(self, teacher, student):
        super().__init__()
        self.teacher, self.student = teacher, student
        self.hint = nn.Linear(16, 64)
        for p in self.teacher.parameters():
            p.requires_grad = False

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, x):
        with torch.no_grad():
            t_logits, t_state = self.teacher(x)
        s_logits, s_state = self.student(x)
        return s_logits, t_logits, self.hint(s_state), t_state


def loss_fn(output, y, T=4.0, alpha=0.9):
    s, t, hint, state = output
    soft = F.kl_div(F.log_softmax(s / T, 1), F.log_softmax(t / T, 1), reduction="batchmean", log_target=True) * T * T
    return alpha * soft + (1 - alpha) * F.cross_entropy(s, y) + F.mse_loss(hint, state)


def fit_teacher(loader, epochs=5):
    teacher = WeatherGRU(24, 64, dropout=0.3)
    opt = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(epochs):
        for x, y in loader:
            opt.zero_grad()
            F.cross_entropy(teacher(x)[0], y).backward()
            opt.step()
    return teacher


def parts(variant):
    torch.manual_seed(0)
    loader = DataLoader(weeks(2400, 1), 48, shuffle=True)
    model = Distiller(fit_teacher(loader), WeatherGRU(8, 16)).train()
    optimizer = torch.optim.Adam(list(model.student.parameters()) + list(model.hint.parameters()), lr=5e-3)
    return {"model": model, "optimizer": optimizer, "loss_fn": loss_fn, "train_loader": loader, "val_loader": DataLoader(weeks(800, 2), 400)}


def accuracy(net, loader):
    net.eval()
    with torch.no_grad():
        right = sum((net(x)[0].argmax(1) == y).sum().item() for x, y in loader)
    net.train()
    return right / len(loader.dataset)


WORKS = lambda score: score > 0.8  # the student's accuracy, four kinds

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    for epoch in range(15):
        total = 0.0
        for x, y in p["train_loader"]:
            loss = p["loss_fn"](model(x), y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(p['train_loader']):.4f}, student {accuracy(model.student, p['val_loader']):.3f}")
    print(f"score: {accuracy(model.student, p['val_loader']):.4f}")
