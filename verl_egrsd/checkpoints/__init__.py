"""Checkpoints: identifying a run, resuming it, reading its checkpoints and exporting them."""
