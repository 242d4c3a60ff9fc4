"""Checkpoints: what makes a run the same, where it starts, and what a checkpoint becomes."""
