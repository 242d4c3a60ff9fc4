"""Rollouts: how they ended, their wording, their tokens, and the file that keeps them."""
