"""Evaluation: accuracy and answer length of a model, with confidence intervals.

Read in this order: `settings` (how answers are sampled), `problems`, `model`, `generation` (vLLM), `samples`
(one line per answer, and how a run resumes), `run` (all of these together), `tables` and `statistics` (the
numbers), `summary`, `compare` and `published` (the reports), `command` (the console).
"""
