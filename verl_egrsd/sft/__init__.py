"""Supervised fine-tuning on the rows of this package, by verl's own trainer.

Read in this order: `settings` (what is learned from a row, and what is refused), `examples` (a row becomes
tokens), `dataset` (all rows, as verl reads them), `saved_steps` (checkpoints that this package knows),
`trainer`, `main` (compose, check, start the ranks).
"""
