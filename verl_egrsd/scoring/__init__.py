"""Log-probs and entropies of given tokens: for the trainer, the viewer and the benchmarks."""
