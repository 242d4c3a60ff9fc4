"""Evaluation: how often a model is right, how long its answers are, and how sure one can be of both.

Read in this order: `settings` (how answers are sampled), `problems` (what is asked), `model` (who answers),
`generation` (vLLM), `samples` (one line per answer, and how a run resumes), `run` (all of these together),
`tables` and `statistics` (the numbers), `summary` and `compare` (what is reported), `command` (the console).
"""
