"""Files of a training run say their format: old ones are read, later ones are refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from verl_egrsd import __version__
from verl_egrsd.rollouts.dump_format import FORMAT, METADATA_KEY, metadata, read_facts, schema

FACTS = {"step": 3, "model": "m", "method": "egrsd", "settings": {}}


def write(path, content):
    pq.write_table(pa.Table.from_pylist([], schema=schema(["credit"]).with_metadata(content)), path)
    return path


def test_a_new_file_says_its_format_and_the_version_that_wrote_it(tmp_path):
    facts = read_facts(write(tmp_path / "3.parquet", metadata(FACTS)))
    assert facts == FACTS | {"format": FORMAT, "version": __version__}


def test_a_file_from_before_there_were_formats_has_format_1(tmp_path):
    old = {METADATA_KEY: json.dumps(FACTS | {"version": "0.1.0"})}
    assert read_facts(write(tmp_path / "3.parquet", old))["format"] == 1


def test_a_file_of_a_later_format_is_refused_with_the_version_that_wrote_it(tmp_path):
    later = {METADATA_KEY: json.dumps(FACTS | {"version": "9.0", "format": FORMAT + 1})}
    with pytest.raises(ValueError, match=rf"3.parquet has format {FORMAT + 1}, written by verl_egrsd 9.0"):
        read_facts(write(tmp_path / "3.parquet", later))
