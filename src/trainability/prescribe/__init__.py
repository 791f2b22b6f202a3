"""Recommend initialisations, ranked by the closed form's prediction."""
