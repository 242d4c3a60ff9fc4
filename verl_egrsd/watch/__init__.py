"""A run that ends with a reason: what watches its phases and processes, and what says how it ended.

Read in this order: `settings` (how long a phase may take), `watchdog` (ends the trainer's thread),
`processes` (which of the run's processes is dead), `words` (the last line of a run), `driver` (signals, and
the end as the starting process sees it), `cluster` (is there one to join), `ports` (are the named ones free)
and `shared_memory` (nothing is left behind). The trainer's part is `verl_egrsd.trainer.watched`.
docs/faults.md tells what a user sees.
"""
