"""Recommendations: a zoo of models, a leaderboard that decides, artefacts and a registry."""
