"""A rehearsal of the whole training loop on a laptop: small task, small tokenizer, small Qwen3.

`python -m recipes.rehearsal.build --out DIR` writes a model folder and two parquet files that a run of
verl_egrsd takes in place of Qwen3 and a real data set.
"""
