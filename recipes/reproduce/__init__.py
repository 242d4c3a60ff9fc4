"""From nothing to the paper's table: one command, which goes on where it was interrupted.

Read in this order: `plan` (what is measured), `stages` (what each stage runs), `valid` (when a result is
valid), `trainings`, `refused` (what a training would be refused for), `run` (the command), `spent`, `results`
and `page` (the final page).
"""
