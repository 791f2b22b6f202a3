"""Starts that will train: plans ranked by what the closed form predicts."""
