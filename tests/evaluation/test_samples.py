"""An evaluation that was killed at any byte goes on without losing, repeating or mixing samples."""

import json
import resource
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_egrsd.evaluation.samples import SAMPLES, SampleLog, begin_or_resume, read_samples, read_settings

from .builders import make_sample, make_samples

WANTED = make_samples([[(10, True), (300, False)], [(20, True), (30, True)]])


def write_all(folder):
    """What a run does: write the samples that are not there yet; returns those."""
    with SampleLog(folder) as log:
        missing = [sample for sample in WANTED if sample.key not in log.done]
        for sample in missing:
            log.append(sample)
    return missing


def test_a_sample_is_read_as_it_was_written(tmp_path):
    write_all(tmp_path)
    assert list(read_samples(tmp_path / SAMPLES)) == WANTED


def test_a_line_holds_the_documented_columns(tmp_path):
    write_all(tmp_path)
    line = json.loads((tmp_path / SAMPLES).read_text().split("\n")[0])
    assert list(line) == [
        *("benchmark", "problem", "index", "sample", "seed", "tokens", "finish_reason"),
        *("extracted", "correct", "reason", "text"),
    ]


@given(st.data())
def test_after_a_kill_at_any_byte_each_sample_is_there_once(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("run")
    write_all(folder)
    whole = (folder / SAMPLES).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / SAMPLES).write_bytes(whole[:cut])
    assert len(write_all(folder)) == len(WANTED) - whole[:cut].count(b"\n")
    assert (folder / SAMPLES).read_bytes() == whole


def test_a_dropped_line_is_said_and_a_whole_file_is_not_touched(tmp_path, capsys):
    write_all(tmp_path)
    assert write_all(tmp_path) == []
    assert capsys.readouterr().err == ""
    with (tmp_path / SAMPLES).open("ab") as file:
        file.write(b'{"benchmark": "su')
    assert write_all(tmp_path) == []
    assert "the last line is unfinished (17 bytes); it is dropped." in capsys.readouterr().err


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    write_all(tmp_path)
    lines = (tmp_path / SAMPLES).read_bytes().split(b"\n")
    (tmp_path / SAMPLES).write_bytes(b"\n".join([lines[0], lines[1][:40], *lines[2:]]))
    with pytest.raises(ValueError, match=r"line 2 of .*samples\.jsonl is not a sample"):
        SampleLog(tmp_path)


def test_a_sample_that_is_there_twice_is_refused(tmp_path):
    with SampleLog(tmp_path) as log:
        log.append(WANTED[0])
        log.append(make_sample("p0", 0, 11, False))
    with pytest.raises(ValueError, match=r"holds \('sums', 'p0', 0\) twice"):
        SampleLog(tmp_path)


def test_two_processes_cannot_write_to_one_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from verl_egrsd.evaluation.samples import SampleLog\n"
        "with SampleLog(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        with pytest.raises(OSError, match="another evaluation is writing to"):
            SampleLog(tmp_path)
        other.stdin.close()
    with SampleLog(tmp_path):
        pass


FACTS = {
    "name": "a",
    "identity": {
        "settings": {"temperature": 1.0, "samples_of": {"aime24": 20}},
        "benchmarks": {"math500": {"problems": 500}},
    },
}


def test_before_the_first_sample_settings_may_change_and_the_model_may_not(tmp_path):
    def facts(model, temperature):
        return {"identity": {"model": {"sha256": model}, "settings": {"temperature": temperature}}}

    begin_or_resume(tmp_path, facts("a", 1.0))
    assert begin_or_resume(tmp_path, facts("a", 0.6))["identity"]["settings"] == {"temperature": 0.6}
    with pytest.raises(ValueError, match=r"model\.sha256 is 'b', but .* with 'a'"):
        begin_or_resume(tmp_path, facts("b", 0.6))


def test_the_same_settings_resume_whatever_the_run_is_called(tmp_path):
    begin_or_resume(tmp_path, FACTS)
    write_all(tmp_path)
    assert begin_or_resume(tmp_path, FACTS | {"name": "b"})["name"] == "a"
    assert read_settings(tmp_path)["identity"] == FACTS["identity"]


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (
            {"settings": {"temperature": 0.6, "samples_of": {"aime24": 20}}},
            r"settings\.temperature is 0\.6, but the samples in .* were drawn with 1\.0: use the same, or "
            r"choose another --out\.",
        ),
        ({"settings": {"temperature": 1.0}}, r"settings\.samples_of\.aime24 is None, but .* with 20"),
        (
            {"benchmarks": {"math500": {"problems": 500}, "gsm8k": {"problems": 9}}},
            r"benchmarks\.gsm8k\.problems is 9, but .* with None",
        ),
    ],
)
def test_other_settings_are_refused_with_key_both_values_and_remedy(tmp_path, identity, message):
    begin_or_resume(tmp_path, FACTS)
    write_all(tmp_path)
    with pytest.raises(ValueError, match=message):
        begin_or_resume(tmp_path, {"identity": FACTS["identity"] | identity})


def test_a_folder_of_another_kind_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"settings\.json is missing: .* was not written by"):
        read_settings(tmp_path)
    (tmp_path / "settings.json").write_text('{"schema": "verl_egrsd.evaluation/0"}')
    with pytest.raises(ValueError, match=r"has the schema 'verl_egrsd\.evaluation/0'"):
        read_settings(tmp_path)


def test_a_disk_that_is_full_in_the_middle_of_a_line_keeps_the_lines_before_it(tmp_path):
    """The largest size of a file stands for the space: what does not fit is cut off, then refused."""
    samples = [make_sample("p", number, 9, True) for number in range(3)]
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    with SampleLog(tmp_path) as log:
        log.append(samples[0])
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size * 3 // 2, unlimited[1]))
        try:
            for _ in range(2):
                with pytest.raises(OSError, match=r"no space left for .*samples\.jsonl: 1 samples are kept"):
                    log.append(samples[1])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert list(read_samples(tmp_path / "samples.jsonl")) == samples[:1]
    with SampleLog(tmp_path) as log:
        for sample in samples[1:]:
            log.append(sample)
    assert list(read_samples(tmp_path / "samples.jsonl")) == samples
