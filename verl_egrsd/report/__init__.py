"""What a training run leaves behind: `report.jsonl`, `report.json` and `report.html`.

`settings` has the folder and the thresholds, `history` keeps the metrics of each step, `health` judges them,
`curves` draws them, `page` makes the HTML, and `run` is the hook of the trainer.
"""
