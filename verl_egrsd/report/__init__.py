"""The report of a training run: `report.jsonl`, `report.json` and `report.html`.

`settings` holds the folder and the thresholds, `history` keeps the metrics of each step, `health` checks
them, `curves` draws them, `page` makes the HTML, `ending` records how the run ended, and the trainer calls
`run`.
"""
