"""Healthy: the graph attention network of the well-known repository, scores of absent edges at -9e15, dropout of a half on features and attention, the whole graph as the only batch and a loss over the few labelled nodes. change: nothing, it is sound."""
import sys

import torch
import torch.nn.functional as F
from torch import nn, optim

N, CLASSES, FEATURES = 240, 4, 60


def load_graph():
    g = torch.Generator().manual_seed(5)
    labels = torch.randint(0, CLASSES, (N,), generator=g)
    same = labels[:, None] == labels[None, :]
    prob = torch.where(same, 0.08, 0.006)
    upper = torch.triu((torch.rand(N, N, generator=g) < prob).float(), 1)
    adj = upper + upper.T + torch.eye(N)
    words = torch.rand(CLASSES, FEATURES, generator=g) * 0.12 + 0.02
    features = (torch.rand(N, FEATURES, generator=g) < words[labels]).float()
    features = features / features.sum(1, keepdim=True).clamp(min=1)
    order = torch.randperm(N, generator=g)
    return features, adj, labels, order[:60], order[60:]


class GraphAttentionLayer(nn.Module):
    def __init__(self, in_features, out_features, dropout, alpha, concat=True):
        super().__init__()
        self.dropout, self.out_features, self.concat = dropout, out_features, concat
        self.W = nn.Parameter(torch.empty(size=(in_features, out_features)))
        nn.init.xavier_uniform_(self.W.data, gain=1.414)
        self.a = nn.Parameter(torch.empty(size=(2 * out_features, 1)))
        nn.init.xavier_uniform_(self.a.data, gain=1.414)
        self.leakyrelu = nn.LeakyReLU(alpha)

    def forward(self, h, adj):
        Wh = torch.mm(h, self.W)
        e = self.leakyrelu(Wh @ self.a[:self.out_features] + (Wh @ self.a[self.out_features:]).T)
        attention = torch.where(adj > 0, e, -9e15 * torch.ones_like(e))
        attention = F.softmax(attention, dim=1)
        attention = F.dropout(attention, self.dropout, training=self.training)
        h_prime = torch.matmul(attention, Wh)
        return F.elu(h_prime) if self.concat else h_prime


class GAT(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout, alpha, nheads):
        super().__init__()
        self.dropout = dropout
        self.attentions = [GraphAttentionLayer(nfeat, nhid, dropout, alpha) for _ in range(nheads)]
        for i, attention in enumerate(self.attentions):
            self.add_module(f"attention_{i}", attention)
        self.out_att = GraphAttentionLayer(nhid * nheads, nclass, dropout, alpha, concat=False)

    def forward(self, x, adj):
        x = F.dropout(x, self.dropout, training=self.training)
        x = torch.cat([att(x, adj) for att in self.attentions], dim=1)
        x = F.dropout(x, self.dropout, training=self.training)
        x = F.elu(self.out_att(x, adj))
        return F.log_softmax(x, dim=1)


def training_step(model, batch):
    features, adj, labels, idx = batch
    output = model(features, adj)
    return F.nll_loss(output[idx], labels[idx])


def parts(variant):
    torch.manual_seed(0)
    features, adj, labels, idx_train, idx_test = load_graph()
    model = GAT(nfeat=FEATURES, nhid=8, nclass=CLASSES, dropout=0.5, alpha=0.2, nheads=4)
    return dict(
        model=model,
        optimizer=optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4),
        training_step=training_step,
        train_loader=[(features, adj, labels, idx_train)],
        val_loader=[(features, adj, labels, idx_test)],
    )


WORKS = lambda score: score > 0.75

if __name__ == "__main__":
    torch.set_num_threads(1)
    p = parts(sys.argv[1] if len(sys.argv) > 1 else "fixed")
    model, optimizer = p["model"], p["optimizer"]
    for epoch in range(400):
        for batch in p["train_loader"]:
            model.train()
            optimizer.zero_grad()
            loss_train = training_step(model, batch)
            loss_train.backward()
            optimizer.step()
        if epoch % 40 == 0:
            print(f"Epoch: {epoch:04d} loss_train: {loss_train.item():.4f}")
    model.eval()
    with torch.no_grad():
        features, adj, labels, idx = p["val_loader"][0]
        score = (model(features, adj)[idx].argmax(1) == labels[idx]).float().mean().item()
    print(f"score: {score:.4f}")
