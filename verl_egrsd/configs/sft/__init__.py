"""Hydra configurations of supervised training: `sft.yaml` on top of verl's, presets, models, hardware."""
