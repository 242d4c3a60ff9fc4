"""A folder is read as the hub lays it out: one configuration, one split, and it says which files."""

import json

import pytest

from data_prep.layout import choose_files
from data_prep.sources import describe_source, read_rows

OPENTHOUGHTS = """---
license: apache-2.0
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*
- config_name: metadata
  data_files:
  - split: train
    path: metadata/train-*
---
# About
"""


def folder(path, *names, card=None):
    """Make a folder of JSON lines, each with one row that holds the name of its file."""
    for name in names:
        file = path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"file": name}) + "\n")
    if card:
        (path / "README.md").write_text(card)
    return path


def read(path, **choice):
    return [row["file"] for row in read_rows(str(path), **choice)]


def test_the_test_split_of_a_snapshot_is_not_read_into_training(tmp_path):
    names = [f"data/{split}-0000{i}-of-00002.jsonl" for split in ("test", "train") for i in (0, 1)]
    snapshot = folder(tmp_path, *names)
    assert read(snapshot) == names[2:]
    assert read(snapshot, split="test") == names[:2]
    assert describe_source(str(snapshot), None, "train") == {
        "configuration": "default",
        "split": "train",
        "files": names[2:],
        "left_out": names[:2],
    }


@pytest.mark.parametrize("card", [None, OPENTHOUGHTS], ids=["names", "README.md"])
def test_the_configurations_of_openthoughts_are_not_mixed(tmp_path, card):
    default, metadata = "data/train-00000-of-00001.jsonl", "metadata/train-00000-of-00001.jsonl"
    snapshot = folder(tmp_path, default, metadata, card=card)
    assert read(snapshot) == [default]
    assert read(snapshot, config="metadata") == [metadata]
    with pytest.raises(ValueError, match=r"no configuration 'meta'; found default, metadata: .*--config"):
        choose_files(snapshot, "meta", "train")


@pytest.mark.parametrize(
    ("names", "choice", "expected"),
    [
        (["main/train-0.jsonl", "main/test-0.jsonl", "socratic/train-0.jsonl"], {"config": "main"}, [0]),
        (["default/train/0000.jsonl", "default/test/0000.jsonl", "more/train/0000.jsonl"], {}, [0]),
        (["train.jsonl", "test.jsonl", "dev.jsonl"], {"split": "validation"}, [2]),
        (["gsm8k_train.jsonl", "gsm8k_test.jsonl"], {}, [0]),
        (["train/algebra/1.jsonl", "train/geometry/1.jsonl", "test/algebra/1.jsonl"], {}, [0, 1]),
        (["data/math-00000-of-00001.jsonl", "data/code-00000-of-00001.jsonl"], {"split": "math"}, [0]),
        (["part-00000-of-00002.jsonl", "part-00001-of-00002.jsonl"], {}, [0, 1]),
        (["algebra/rows.jsonl", "geometry/rows.jsonl"], {}, [0, 1]),
        (["a.jsonl", "b.jsonl"], {"config": "main", "split": "test"}, [0, 1]),
        (["contest/latest.jsonl", "contest/trainer.jsonl"], {}, [0, 1]),
        (["v1.2_train.jsonl", "v1.2_test.jsonl"], {}, [0]),
        (["train.jsonl", "notes.jsonl"], {}, [0]),
        (["train/data-00000-of-00001.jsonl", "test/data-00000-of-00001.jsonl"], {"split": "test"}, [1]),
        (["rows.jsonl", "dataset_infos.json", "state.json", ".cache/old.jsonl"], {}, [0]),
    ],
)
def test_names_of_files_and_folders_tell_configuration_and_split(tmp_path, names, choice, expected):
    assert read(folder(tmp_path, *names), **choice) == [names[place] for place in expected]


@pytest.mark.parametrize(
    ("names", "choice", "message"),
    [
        (
            ["main/train-0.jsonl", "socratic/train-0.jsonl"],
            {},
            "several configurations; found main, socratic",
        ),
        (
            ["data/math-00000-of-00001.jsonl", "data/code-00000-of-00001.jsonl"],
            {},
            "found code, math: .*--split",
        ),
        (["en/train-0.jsonl", "de/test-0.jsonl"], {"config": "de"}, "no split 'train' .* found test: choose"),
        (["test.jsonl"], {}, "no split 'train' .* found test: choose one with --split"),
        (["a.jsonl", "b.csv"], {}, "found .csv and .jsonl: name one file as --source"),
        ([], {}, "found none"),
    ],
)
def test_a_choice_that_is_open_is_an_error_with_what_was_found_and_the_flag(tmp_path, names, choice, message):
    with pytest.raises(ValueError, match=message):
        read(folder(tmp_path, *names), **choice)


@pytest.mark.parametrize(
    ("data_files", "expected"),
    [
        ("rows/*.jsonl", ["rows/a.jsonl", "rows/b.jsonl"]),
        (["rows/b.jsonl", "rows/a.jsonl"], ["rows/b.jsonl", "rows/a.jsonl"]),
        (
            [{"split": "train", "path": ["./rows/b.jsonl"]}, {"split": "test", "path": "rows/a.jsonl"}],
            ["rows/b.jsonl"],
        ),
        ({"train": "rows/a.jsonl", "test": "rows/b.jsonl"}, ["rows/a.jsonl"]),
    ],
)
def test_every_form_of_data_files_in_the_card_is_understood(tmp_path, data_files, expected):
    declared = json.dumps([{"config_name": "only", "data_files": data_files}])
    snapshot = folder(tmp_path, "rows/a.jsonl", "rows/b.jsonl", card=f"---\nconfigs: {declared}\n---\n")
    assert read(snapshot) == expected
    with pytest.raises(ValueError, match="no configuration 'other'; found only"):
        read(snapshot, config="other")


def test_a_card_may_name_a_folder_and_the_default(tmp_path):
    entries = [
        {"config_name": "en", "data_dir": "en"},
        {"config_name": "all", "data_dir": "all", "default": True},
    ]
    card = f"---\nconfigs: {json.dumps(entries)}\n---\n"
    snapshot = folder(tmp_path, "en/train-0.jsonl", "all/train-0.jsonl", "all/test-0.jsonl", card=card)
    assert read(snapshot) == ["all/train-0.jsonl"]
    assert read(snapshot, config="en") == ["en/train-0.jsonl"]


def test_a_card_without_configurations_leaves_the_names_to_tell(tmp_path):
    snapshot = folder(tmp_path, "train.jsonl", "test.jsonl", card="---\nlicense: mit\n---\n# About\n")
    assert read(snapshot) == ["train.jsonl"]
    (snapshot / "README.md").write_text("no front matter")
    assert read(snapshot) == ["train.jsonl"]


def test_a_folder_of_the_hubs_cache_gives_its_current_snapshot(tmp_path):
    cached = tmp_path / "datasets--who--what"
    folder(cached, "blobs/1", "snapshots/old/data/train-0.jsonl", "snapshots/new/data/train-0.jsonl")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("new")
    assert read(cached) == ["snapshots/new/data/train-0.jsonl"]
