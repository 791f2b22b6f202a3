"""Circus programmes: the twelve acts of an evening in their order, and a transformer encoder says which of three star acts comes first. The acts are embedded without any position, so the encoder sees a set and can only guess; the right change: add the position embedding to the act embedding."""
import sys

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
ACTS = ["lions", "trapeze", "fire", "clowns", "horses", "juggler", "magician", "acrobats", "dogs", "band",
        "rope", "seals", "strongman", "knives", "parrots"]
STARS = 3
EVENING = 12


class Programmes(Dataset):
    def __init__(self, evenings, seed):
        gen = torch.Generator().manual_seed(seed)
        self.rows, self.first = [], []
        for _ in range(evenings):
            extras = STARS + torch.randperm(len(ACTS) - STARS, generator=gen)[:EVENING - STARS]
            row = torch.cat([torch.arange(STARS), extras])[torch.randperm(EVENING, generator=gen)]
            first = row[row < STARS][0].item()
            if torch.rand(1, generator=gen) < 0.03:  # slips of the clerk
                first = int(torch.randint(0, STARS, (1,), generator=gen))
            self.rows.append(row)
            self.first.append(first)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i], self.first[i]


class ProgrammeEncoder(nn.Module):
    def __init__(self, positions, dim=48, heads=4, layers=2):
        super().__init__()
        self.act = nn.Embedding(len(ACTS), dim)
        self.position = nn.Embedding(EVENING, dim) if positions else None
        block = nn.TransformerEncoderLayer(dim, heads, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, STARS)

    def forward(self, programme):
        h = self.act(programme)
        if self.position is not None:
            h = h + self.position(torch.arange(programme.shape[1]))
        return self.head(self.norm(self.encoder(h).mean(1)))


def accuracy(logits, first):
    return (logits.argmax(-1) == first).float().mean()


def parts(variant):
    torch.manual_seed(12)
    model = ProgrammeEncoder(positions=variant != "bad")
    return {"model": model,
            "optimizer": torch.optim.AdamW(model.parameters(), lr=1.5e-3, weight_decay=0.01),
            "loss_fn": nn.CrossEntropyLoss(),
            "train_loader": DataLoader(Programmes(3000, 1), batch_size=60, shuffle=True),
            "val_loader": DataLoader(Programmes(600, 2), batch_size=600),
            "metric": accuracy}


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "bad")
    model, optimizer = p["model"], p["optimizer"]
    EPOCHS = 7
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * len(p["train_loader"]))
    for epoch in range(EPOCHS):
        model.train()
        for programme, first in p["train_loader"]:
            optimizer.zero_grad()
            loss = p["loss_fn"](model(programme), first)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        model.eval()
        with torch.no_grad():
            programme, first = next(iter(p["val_loader"]))
            score = p["metric"](model(programme), first).item()
        print(f"epoch {epoch}: loss {loss.item():.3f} accuracy {score:.3f}")
    print("score:", score)
