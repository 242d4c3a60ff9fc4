"""What a run costs, counted before it starts: operations, seconds of a step, and memory of a GPU.

Nothing here is measured. Read in this order: `shape` (sizes of a decoder), `work` (operations of a step),
`seconds` (GPUs, and how long they take), `memory` (bytes of each phase on a GPU), `remedy` (what to set so
that they fit), `settings` (the plan of a configured run), `table` (models and hardware in the documentation).
"""
