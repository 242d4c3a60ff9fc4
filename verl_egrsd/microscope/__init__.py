"""The microscope: which tokens of a response get the credit, and why, as pages that open without a network.

Read in this order: `rollout` (what is known about a response), `dumped` and `scored` (where it comes from: a
training run or a model), `aggregates` (what holds over many tokens), `pages` (what is shown).
"""
