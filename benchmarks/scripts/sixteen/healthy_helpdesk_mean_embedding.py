"""Routing of helpdesk mails to six teams, averaged word embeddings (mean over the real words) and an MLP; some mails come twice, two teams are small, misspelt words become unknown; sound; change: none."""
import sys
import random
from collections import Counter
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

TEAMS = {
    "network": "wifi vpn router cable slow disconnect proxy ping lan signal".split(),
    "accounts": "password login locked reset expired username mfa token access account".split(),
    "printing": "printer toner paper jam scan tray duplex queue print colour".split(),
    "phones": "handset voicemail headset call ringing extension sim mobile roaming phone".split(),
    "licences": "licence activation key renew subscription installer seat vendor invoice version".split(),
    "rooms": "projector screen booking room hdmi calendar camera whiteboard door conference".split(),
}
WEIGHTS = [30, 32, 18, 10, 5, 5]
FILL = "hello please help since today the my is not working again after can you thanks office we need it on and still".split()


def mails(n, seed):
    rnd = random.Random(seed)
    out = []
    names = list(TEAMS)
    for _ in range(n):
        k = rnd.choices(range(6), WEIGHTS)[0]
        w = rnd.choices(TEAMS[names[k]], k=rnd.randint(2, 5)) + rnd.choices(FILL, k=rnd.randint(3, 25))
        if rnd.random() < 0.25:
            w.append(rnd.choice(TEAMS[rnd.choice(names)]))
        w = [x[:-1] + rnd.choice("qxz") if rnd.random() < 0.04 else x for x in w]
        rnd.shuffle(w)
        out.append((w, k))
    return out + out[: n // 25]


def build_vocab(rows, min_freq=3):
    count = Counter(w for ws, _ in rows for w in ws)
    return {w: i + 2 for i, w in enumerate(sorted(w for w, c in count.items() if c >= min_freq))}


class MailNet(nn.Module):
    def __init__(self, n_words, n_teams, dim=50):
        super().__init__()
        self.embedding = nn.Embedding(n_words, dim, padding_idx=0)
        self.mlp = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, n_teams))

    def forward(self, ids):
        keep = (ids != 0).unsqueeze(-1)
        pooled = (self.embedding(ids) * keep).sum(1) / keep.sum(1)
        return self.mlp(pooled)


def parts(variant):
    torch.manual_seed(0)
    train, val = mails(3000, 1), mails(500, 2)
    vocab = build_vocab(train)

    def collate(rows):
        ids = [torch.tensor([vocab.get(w, 1) for w in ws]) for ws, _ in rows]
        return pad_sequence(ids, batch_first=True), torch.tensor([k for _, k in rows])

    model = MailNet(len(vocab) + 2, 6)
    return dict(model=model, optimizer=torch.optim.Adam(model.parameters(), lr=2e-3), loss_fn=nn.CrossEntropyLoss(),
                train_loader=DataLoader(train, batch_size=64, shuffle=True, collate_fn=collate),
                val_loader=DataLoader(val, batch_size=64, collate_fn=collate))


WORKS = lambda score: score > 0.85

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model = p["model"]
    best = 0.0
    for epoch in range(12):
        model.train()
        s = 0.0
        for ids, team in p["train_loader"]:
            p["optimizer"].zero_grad()
            loss = p["loss_fn"](model(ids), team)
            loss.backward()
            p["optimizer"].step()
            s += loss.item()
        model.eval()
        with torch.no_grad():
            acc = torch.cat([model(i).argmax(1) == t for i, t in p["val_loader"]]).float().mean().item()
        best = max(best, acc)
        print(f"| epoch {epoch:2d} | loss {s / len(p['train_loader']):.3f} | valid acc {acc:.3f}")
    score = acc
    print(f"score: {score:.4f}")
