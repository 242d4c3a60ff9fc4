"""The microscope: which tokens of a response get the credit, and why, as pages that open without a network.

Read in this order: `rollout` (a response and the numbers of its tokens), `dumped` and `scored` (the two
sources: a training run, or a model), `aggregates` (means over many tokens), `mathematics` (formulas of
problems and answers), `pages` (the HTML).
"""
