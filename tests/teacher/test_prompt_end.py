"""What follows the user's text is found for every template that shows the text, and else refused."""

from functools import partial

import pytest

from tests.support.chat_templates import FAMILIES, UNUSABLE
from verl_egrsd.reward import opens_reasoning
from verl_egrsd.teacher.prompt_end import prompt_end

EARLIER = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "<think>so</think>Hi"}]


def rendered(text, *, tokenizer, template, flag, earlier=()):
    flags = {} if flag is None else {"enable_thinking": flag}
    messages = [*earlier, {"role": "user", "content": text}]
    return tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=False, add_generation_prompt=True, **flags
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("flag", [None, True, False])
@pytest.mark.parametrize("earlier", [(), EARLIER])
def test_the_end_of_each_familys_prompt_is_found(small, name, flag, earlier):
    family = FAMILIES[name]
    render = partial(rendered, tokenizer=small, template=family.template, flag=flag, earlier=earlier)
    assert prompt_end(render) == family.last[flag]


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_template_that_hides_or_reads_the_text_is_refused(small, name):
    with pytest.raises(ValueError, match=r"the chat template .* use another chat template"):
        prompt_end(partial(rendered, tokenizer=small, template=UNUSABLE[name], flag=None))


@pytest.mark.parametrize(
    ("family", "flag", "opened"),
    [
        *(("qwen3", flag, False) for flag in (None, True, False)),
        *(("qwen3-2507-thinking", flag, True) for flag in (None, True, False)),
        *(("r1-distill", flag, True) for flag in (None, True, False)),
        *(("qwen3.5", None, True), ("qwen3.5", True, True), ("qwen3.5", False, False)),
        *(("deepseek-v3.1", True, True), ("deepseek-v3.1", False, False), ("glm-4.5", False, False)),
    ],
)
def test_an_end_that_leaves_the_reasoning_open_is_told_apart(family, flag, opened):
    assert opens_reasoning(FAMILIES[family].last[flag]) is opened
