"""Entropy-gated self-distillation (EGRSD, CL-EGRSD) as an extension package for verl."""

__version__ = "0.2.0"
