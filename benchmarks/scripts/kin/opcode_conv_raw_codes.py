"""Malware families from opcode sequences by a 1-D CNN that is fed the codes (0 to 255) as one channel of floats; change: an nn.Embedding before the convolutions."""
import sys
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

N_CODES, LENGTH, FAMILIES = 256, 64, 5


def programs(n, seed):
    """Each family uses idioms of its own: pairs of opcodes scattered among ordinary code."""
    w = torch.Generator().manual_seed(7)
    idioms = torch.randint(0, N_CODES, (FAMILIES, 12, 2), generator=w)
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, FAMILIES, (n,), generator=g)
    x = torch.randint(0, N_CODES, (n, LENGTH), generator=g)
    for i in range(n):
        where = 2 * torch.randperm(LENGTH // 2, generator=g)[:9]
        which = torch.randint(0, 12, (9,), generator=g)
        x[i, where], x[i, where + 1] = idioms[y[i], which, 0], idioms[y[i], which, 1]
    return x, y


class OpcodeCNN(nn.Module):
    def __init__(self, embed, dim=24):
        super().__init__()
        self.embed = nn.Embedding(N_CODES, dim) if embed else None
        self.conv1 = nn.Conv1d(dim if embed else 1, 64, 3, padding=1)
        self.conv2 = nn.Conv1d(64, 64, 3, padding=1)
        self.fc = nn.Linear(64, FAMILIES)

    def forward(self, codes):
        if self.embed is not None:
            h = self.embed(codes).transpose(1, 2)
        else:
            h = codes.float().unsqueeze(1)
        h = F.relu(self.conv1(h))
        h = F.relu(self.conv2(h))
        return self.fc(h.amax(2))


def parts(variant):
    torch.manual_seed(0)
    model = OpcodeCNN(embed=variant != "bad")
    return dict(model=model, loss_fn=nn.CrossEntropyLoss(), optimizer=torch.optim.NAdam(model.parameters(), lr=2e-3),
                train_loader=DataLoader(TensorDataset(*programs(3000, 1)), 32, shuffle=True),
                val_loader=DataLoader(TensorDataset(*programs(500, 2)), 100))


def test(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x).argmax(1) == y).sum().item()
    return correct / len(loader.dataset)


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(8):
        p["model"].train()
        seen = hits = 0
        for x, y in p["train_loader"]:
            out = p["model"](x)
            loss = p["loss_fn"](out, y)
            p["optimizer"].zero_grad()
            loss.backward()
            p["optimizer"].step()
            hits += (out.argmax(1) == y).sum().item()
            seen += len(y)
        print(f"Epoch {epoch + 1}: loss {loss.item():.4f} train acc {hits / seen:.3f} test acc {test(p['model'], p['val_loader']):.3f}")
    print(f"score: {test(p['model'], p['val_loader']):.4f}")
