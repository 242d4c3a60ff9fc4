"""`verl-egrsd check`: everything that can be known of a run before it starts, without a GPU.

Read in this order: `lines` (what one check says), `examination` (all checks of a training, in order),
`installed` (versions, the plug-in in a fresh process), `prompts` (what student and teacher read), `lengths`
(against every cap), `machine` (GPUs, disk, predicted memory and seconds), `cluster` (every node of a Ray
cluster), `supervised` (the checks of supervised training), `command`.
"""
