"""Sector from a job title, a TextCNN over words; bad: zero_grad stands between backward and step, so every step is taken with empty gradients; change: zero_grad before backward."""
import random
import sys
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

SECTORS = {
    "health": "nurse doctor ward midwife dental pharmacy care clinic".split(),
    "software": "developer python backend frontend devops engineer data cloud".split(),
    "kitchen": "chef cook baker waiter kitchen pastry barista host".split(),
    "building": "mason plumber electrician roofer carpenter site welder crane".split(),
    "school": "teacher tutor lecturer librarian principal coach classroom nursery".split(),
}
COMMON = "senior junior assistant head part time lead night temporary of the for with".split()
VOCAB = {w: i + 1 for i, w in enumerate(COMMON + [w for ws in SECTORS.values() for w in ws])}


def titles(n, seed):
    rnd = random.Random(seed)
    rows = []
    for _ in range(n):
        k = rnd.randrange(len(SECTORS))
        words = rnd.sample(list(SECTORS.values())[k], rnd.randint(1, 2)) + rnd.sample(COMMON, rnd.randint(1, 4))
        if rnd.random() < 0.1:
            words.append(rnd.choice(rnd.choice(list(SECTORS.values()))))
        rnd.shuffle(words)
        rows.append((" ".join(words), k))
    return rows


def collate(batch):
    ids = [torch.tensor([VOCAB[w] for w in t.split()]) for t, _ in batch]
    x = nn.utils.rnn.pad_sequence(ids, batch_first=True)
    if x.shape[1] < 3:
        x = F.pad(x, (0, 3 - x.shape[1]))
    return x, torch.tensor([k for _, k in batch])


class TextCNN(nn.Module):
    def __init__(self, vocab, classes, d=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, d, padding_idx=0)
        self.convs = nn.ModuleList([nn.Conv1d(d, 24, k, padding=k // 2) for k in (1, 2, 3)])
        self.fc = nn.Linear(72, classes)

    def forward(self, x):
        e = self.emb(x).transpose(1, 2)
        return self.fc(torch.cat([F.relu(c(e)).amax(2) for c in self.convs], 1))


def parts(variant):
    torch.manual_seed(0)
    model = TextCNN(len(VOCAB) + 1, len(SECTORS))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()

    def step(model, batch, optimizer):
        text, label = batch
        output = model(text)
        loss = criterion(output, label)
        if variant == "bad":
            loss.backward()
            optimizer.zero_grad()
        else:
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        return loss.detach()

    return dict(model=model, optimizer=optimizer, step=step,
                train_loader=DataLoader(titles(3000, 1), batch_size=50, shuffle=True, collate_fn=collate),
                val_loader=DataLoader(titles(600, 2), batch_size=100, collate_fn=collate))


WORKS = lambda score: score > 0.8

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    for epoch in range(1, 9):
        p["model"].train()
        losses = [p["step"](p["model"], b, p["optimizer"]).item() for b in p["train_loader"]]
        print(f"Epoch: {epoch:02} | Train Loss: {sum(losses) / len(losses):.3f}")
    p["model"].eval()
    with torch.no_grad():
        ok = torch.cat([p["model"](x).argmax(1) == y for x, y in p["val_loader"]])
    score = ok.float().mean().item()
    print(f"score: {score:.4f}")
