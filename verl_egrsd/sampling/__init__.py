"""A model's own samples as training data: `verl-egrsd sample`.

Read in this order: `settings` (how samples are drawn, and which are kept), `rows` (samples become rows),
`command` (the console). The samples themselves are drawn and judged by `verl_egrsd.evaluation`.
"""
