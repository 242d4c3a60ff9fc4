"""Planted secrets do not reach what a run writes."""

import json
import sys
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from verl_egrsd.checkpoints.fingerprint import fingerprint
from verl_egrsd.compat import verl_settings
from verl_egrsd.config import flat
from verl_egrsd.configs.composing import composed
from verl_egrsd.methods.table import TABLE
from verl_egrsd.output.redaction import (
    REDACTED,
    names_secret,
    redacted,
    scrubbed,
    scrubbed_output,
    secrets_in,
)
from verl_egrsd.report.ending import ending
from verl_egrsd.report.run import RunReport, describe_run, note_ending
from verl_egrsd.report.settings import resolve_report

PLANTED = "hf_PlantedSecretValue42"
SETTINGS = {
    "trainer": {"experiment_name": "run", "wandb_proxy": f"https://me:{PLANTED}@proxy:8080"},
    "ray_kwargs": {"ray_init": {"runtime_env": {"env_vars": {"HF_TOKEN": PLANTED, "NCCL_DEBUG": "WARN"}}}},
    "reward": {
        "custom_reward_function": {"reward_kwargs": {"apiKey": PLANTED, "judges": [{"password": PLANTED}]}}
    },
}


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"),
        *("hfToken", "apiKey", "password", "db.password", "AZURE_STORAGE_KEY", "GOOGLE_CREDENTIALS"),
        *("api_keys", "passwords", "HF_TOKEN_2", "GITHUB_TOKENS", "PGPASSWORD", "MYSQL_PWD", "DB_PASS"),
        *("OPENAI_KEY", "OPENAI_KEY2", "openai_key", "PRIVATE_KEY_PEM", "SLACK_WEBHOOK_URL", "STRIPE_KEYS"),
        *("MLFLOW_TRACKING_PASSWORD", "RAY_AUTH_TOKEN", "github_pat", "session_cookie", "Authorization"),
    ],
)
def test_a_name_of_a_secret_is_known(name):
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        *("max_token_len_per_gpu", "prompt_key", "eos_token", "control_tokens", "key", "tokenizer_path"),
        *("author", "max_tokens", "MAX_TOKENS", "max_new_tokens", "stop_tokens", "use_dynamic_bsz"),
        *("tokenizer", "token-mean", "num_key_value_heads", "pass_rate", "pass@1", "bypass_mode", "PWD"),
        *("OLDPWD", "PUBLIC_KEY", "SSH_ASKPASS", "pattern", "path", "tokens", "keys", "KEYS"),
    ],
)
def test_a_name_of_something_else_is_not(name):
    assert not names_secret(name)


def composed_settings(module, name, *overrides):
    return OmegaConf.to_container(composed(module, name, list(overrides)))


@pytest.mark.parametrize(
    "settings",
    [
        verl_settings,
        partial(composed_settings, "verl_egrsd.configs", "egrsd", "preset=egrsd", "model=tiny"),
        partial(composed_settings, "verl_egrsd.configs.sft", "sft", "preset=sft", "base=qwen3_4b"),
    ],
    ids=["verl", "egrsd", "sft"],
)
def test_no_setting_is_taken_for_a_secret(settings):
    found = settings()
    assert redacted(found) == json.loads(json.dumps(found))
    assert not [key for key in flat(found) if names_secret(key)]


def test_no_field_of_a_method_is_taken_for_a_secret():
    fields = [key for method in TABLE for key in flat(method.keys())]
    assert len(fields) > 100
    assert not [key for key in fields if names_secret(key)]


def test_a_switch_is_no_secret():
    settings = {"use_auth_token": True, "auth_token": "true", "password": 1}
    assert redacted(settings) == {"use_auth_token": True, "auth_token": REDACTED, "password": REDACTED}


def test_settings_keep_everything_but_the_secrets():
    found = redacted(SETTINGS)
    assert PLANTED not in json.dumps(found)
    environment = found["ray_kwargs"]["ray_init"]["runtime_env"]["env_vars"]
    assert environment == {"HF_TOKEN": REDACTED, "NCCL_DEBUG": "WARN"}
    assert found["trainer"]["wandb_proxy"] == f"https://{REDACTED}@proxy:8080"
    assert set(secrets_in(SETTINGS)) == {PLANTED}


def test_all_that_stands_in_a_secret_section_is_secret_and_numbers_are_too():
    settings = {"credentials": {"user": "somebody", "pin": 12345678}, "db_password": 87654321, "pins": 12345}
    found = redacted(settings)
    assert found == {
        "credentials": {"user": REDACTED, "pin": REDACTED},
        "db_password": REDACTED,
        "pins": 12345,
    }
    assert set(secrets_in(settings)) == {"somebody", "12345678", "87654321"}


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A report whose settings, environment and error hold secrets; all that its folder contains."""
    monkeypatch.setenv("SERVICE_TOKEN", "EnvironmentSecret42")
    report = RunReport(resolve_report({}, folder=str(tmp_path)), describe_run(SETTINGS, 2, {}), 0)
    report.record(1, {"egrsd/correct": 0.5})
    ended = ending("running") | {"message": "401 for EnvironmentSecret42"}
    report.end(ended)
    note_ending(tmp_path, ending("running") | {"message": "again EnvironmentSecret42"}, since=None)
    return b"".join(file.read_bytes() for file in tmp_path.iterdir()).decode(errors="replace")


def test_a_report_holds_no_secret(written):
    assert "401 for" in written or "again" in written
    assert REDACTED in written
    assert PLANTED not in written
    assert "EnvironmentSecret42" not in written


def test_the_record_of_a_runs_settings_holds_no_secret_and_a_new_key_does_not_break_a_resume():
    assert PLANTED not in json.dumps(fingerprint(SETTINGS))
    other = json.loads(json.dumps(SETTINGS).replace(PLANTED, "another-secret"))
    assert fingerprint(other) == fingerprint(SETTINGS)


def test_what_a_run_prints_holds_no_secret(monkeypatch, capsys):
    monkeypatch.setenv("SERVICE_TOKEN", "EnvironmentSecret42")
    with scrubbed_output(SETTINGS):
        print("ray init kwargs:", SETTINGS)
        print("EnvironmentSecret42", file=sys.stderr)
        sys.stdout.writelines(["https://me:only-in-an-address@host\n"])
    print("after", PLANTED)
    said = capsys.readouterr()
    assert PLANTED not in said.out.partition("after")[0]
    assert "NCCL_DEBUG" in said.out
    assert f"https://{REDACTED}@host" in said.out
    assert said.err == f"{REDACTED}\n"


@given(st.text(min_size=8), st.text(), st.text())
def test_a_secret_is_left_out_wherever_it_stands(secret, before, after):
    assert secret not in scrubbed(f"{before}{secret}{after}", [secret]) or secret in REDACTED
