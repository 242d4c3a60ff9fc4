"""No file that is read runs code: a walk over this package, and over what it calls in verl."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = sorted(path for name in ("verl_egrsd", "data_prep", "recipes") for path in (ROOT / name).rglob("*.py"))
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNS_CODE = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "pd.read_pickle", "torch.hub.load"),
}
ALLOWED = {
    ("data_prep/openthoughts.py", "import pickle"): "its own temporary file without a name",
    ("data_prep/openthoughts.py", "pickle.load"): "the same",
    ("verl_egrsd/checkpoints/pickles.py", "import pickle"): "the name of an error",
}
"""What of our code would be suspicious, and why it is not."""
IN_VERL = {
    ("trainer/ppo/v1/trainer_base.py", "torch.load"): "data.pt: its pickle is read without running any first",
    ("utils/checkpoint/fsdp_checkpoint_manager.py", "torch.load"): "shards: the same",
    ("utils/checkpoint/checkpoint_handler.py", "torch.load"): "data of supervised training: the same",
    ("experimental/reward_loop/reward_loop.py", "trust_remote_code"): "a model with code is refused at start",
}
"""What verl does in the modules that a run of ours goes through, and what stands before it."""
WALKED = (
    *("trainer/ppo/v1", "trainer/sft_trainer.py", "trainer/main_ppo.py", "utils/checkpoint", "utils/dataset"),
    *("utils/tokenizer", "utils/fs.py", "utils/model.py", "workers/engine/fsdp", "workers/engine_workers.py"),
    *(
        "workers/rollout/vllm_rollout",
        "workers/rollout/replica.py",
        "workers/config",
        "experimental/agent_loop",
    ),
    "experimental/reward_loop",
)
"""Of verl: what training, validation, checkpoints and supervised training go through."""


def suspicious(source: str) -> Iterator[str]:
    """Yield each thing that could run the code of what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [x.name for x in node.names]
            )
            yield from (f"import {name}" for name in modules if name.partition(".")[0] in PICKLES)
        if isinstance(node, ast.Call):
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name, given = ast.unparse(node.func), {word.arg: word.value for word in node.keywords}
    if name in RUNS_CODE:
        yield name
    if name == "torch.load" and not _is(given.get("weights_only"), True):
        yield name
    yield from (
        word
        for word in ("trust_remote_code", "allow_pickle", "shell")
        if word in given and _is(given[word], True)
    )


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def test_none_of_our_code_runs_what_it_reads():
    found = {(str(path.relative_to(ROOT)), thing) for path in OURS for thing in suspicious(path.read_text())}
    assert found == set(ALLOWED)


def test_verl_runs_what_it_reads_only_where_we_stand_before_it():
    verl = Path(find_spec("verl").origin).parent
    files = [file for name in WALKED for file in (sorted((verl / name).rglob("*.py")) or [verl / name])]
    texts = {str(file.relative_to(verl)): file.read_text() for file in files}
    words = ("torch.load", "pickle", "trust_remote_code=True", "yaml.", "eval(", "exec(")
    found = {
        (name, thing)
        for name, text in texts.items()
        if any(word in text for word in words)
        for thing in suspicious(text)
    }
    assert {thing for thing in found if thing[1] != "import cloudpickle"} == set(IN_VERL)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("torch.load(path)", "torch.load"),
        ("torch.load(path, weights_only=False)", "torch.load"),
        ("torch.load(path, weights_only=flag)", "torch.load"),
        ("from pickle import loads", "import pickle"),
        ("yaml.load(text, yaml.Loader)", "yaml.load"),
        ("AutoModel.from_pretrained(path, trust_remote_code=True)", "trust_remote_code"),
        ("np.load(path, allow_pickle=True)", "allow_pickle"),
        ("subprocess.run(text, shell=True)", "shell"),
        ("eval(text)", "eval"),
    ],
)
def test_the_walk_sees(source, said):
    assert list(suspicious(source)) == [said]


@pytest.mark.parametrize(
    "source",
    ["torch.load(path, weights_only=True)", "yaml.safe_load(text)", "model.eval()", "re.compile(text)"],
)
def test_the_walk_lets_pass(source):
    assert list(suspicious(source)) == []
