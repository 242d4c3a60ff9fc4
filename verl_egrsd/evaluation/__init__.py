"""Evaluation: accuracy and answer length of a model, with confidence intervals.

Read in this order: `settings` (how answers are sampled), `privileged` (what a teacher reads), `problems`,
`prompts`, `model`, `generation` (vLLM), `replicas` and `fleet` (several engines), `samples` (one line per
answer, and how a run resumes), `drawing`, `progress`, `run` (all of these together), `tables` and
`statistics` (the numbers), `summary`, `compare` and `published` (the reports), `command` (the console).
"""
