"""Chat templates in short form, one for each way in which families of models write the end of a prompt.

`last` is what the template writes after the last user turn's text: without a flag, thinking and not thinking.
"""

from __future__ import annotations

from typing import NamedTuple


class Family(NamedTuple):
    """A template and the end of its prompts by thinking flag (None: no flag given)."""

    template: str
    last: dict[bool | None, str]


def _always(end: str) -> dict[bool | None, str]:
    return dict.fromkeys((None, True, False), end)


CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CHATML_END = "<|im_end|>\n<|im_start|>assistant\n"
COMMAND_END = "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
OPENED = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

FAMILIES: dict[str, Family] = {
    # Adds a system turn where there is none.
    "qwen2.5": Family(
        "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are helpful.<|im_end|>\n{% endif %}"
        + CHATML
        + OPENED,
        _always(CHATML_END),
    ),
    # Closes an empty reasoning where thinking is off.
    "qwen3": Family(
        CHATML
        + OPENED
        + "{% if add_generation_prompt and enable_thinking is defined and enable_thinking is false %}"
        "<think>\n\n</think>\n\n{% endif %}",
        {None: CHATML_END, True: CHATML_END, False: CHATML_END + "<think>\n\n</think>\n\n"},
    ),
    # Opens the reasoning, whatever the flag says.
    "qwen3-2507-thinking": Family(
        CHATML + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}",
        _always(CHATML_END + "<think>\n"),
    ),
    # Opens the reasoning unless the flag is off; looks for the last real question, as Qwen3.5 does.
    "qwen3.5": Family(
        "{% if not (messages | selectattr('role', 'equalto', 'user') | list) %}"
        "{{ raise_exception('No user query found in messages.') }}{% endif %}"
        + CHATML
        + "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n"
        "{% else %}<think>\n{% endif %}{% endif %}",
        {
            None: CHATML_END + "<think>\n",
            True: CHATML_END + "<think>\n",
            False: CHATML_END + "<think>\n\n</think>\n\n",
        },
    ),
    # Drops the reasoning of earlier turns, and nothing closes the user's turn.
    "r1-distill": Family(
        "{{ bos_token }}{% for m in messages %}"
        "{% if m.role == 'system' %}{{ m.content }}"
        "{% elif m.role == 'user' %}<｜User｜>{{ m.content }}"
        "{% else %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}<｜end▁of▁sentence｜>{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}",
        _always("<｜Assistant｜><think>\n"),
    ),
    # Closes the reasoning that it does not open.
    "deepseek-v3.1": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
        "{% else %}<｜Assistant｜></think>{{ m.content }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<｜Assistant｜>"
        "{{ '<think>' if enable_thinking else '</think>' }}{% endif %}",
        {None: "<｜Assistant｜></think>", True: "<｜Assistant｜><think>", False: "<｜Assistant｜></think>"},
    ),
    "deepseek-v3": Family(
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}"
        "{% else %}<｜Assistant｜>{{ m.content }}<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<｜Assistant｜>{% endif %}",
        _always("<｜Assistant｜>"),
    ),
    # Trims the text, and writes today's date.
    "llama-3": Family(
        "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\n"
        "Today Date: {{ strftime_now('%d %b %Y') }}<|eot_id|>"
        "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
        "{{ m.content | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        _always("<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"),
    ),
    # No header: the end of the user's turn is the start of the answer. System text joins the last turn.
    "mistral": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content ~ '\n\n' %}"
        "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
        "{% if m.role == 'user' %}[INST] {{ first if loop.last else '' }}{{ m.content }} [/INST]"
        "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}",
        _always(" [/INST]"),
    ),
    # Calls the assistant "model", trims, and raises for a system turn.
    "gemma": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
        "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
        "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        _always("<end_of_turn>\n<start_of_turn>model\n"),
    ),
    # The thinking flag writes system text.
    "gemma-4": Family(
        "{% if enable_thinking %}<|turn>system\n<|think|><turn|>\n{% endif %}"
        "{% for m in messages %}<|turn>{{ m.role }}\n{{ m.content }}<turn|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|turn>model\n"
        "{% if not enable_thinking %}<|channel>thought\n<channel|>{% endif %}{% endif %}",
        {
            None: "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
            True: "<turn|>\n<|turn>model\n",
            False: "<turn|>\n<|turn>model\n<|channel>thought\n<channel|>",
        },
    ),
    # The flag also writes to the end of the user's turn.
    "glm-4.5": Family(
        "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}"
        "{% if m.role == 'user' and enable_thinking is defined and not enable_thinking "
        "and not m.content.endswith('/nothink') %}/nothink{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>"
        "{% if enable_thinking is defined and not enable_thinking %}{{ '\n<think></think>' }}{% endif %}"
        "{% endif %}",
        {None: "<|assistant|>", True: "<|assistant|>", False: "/nothink<|assistant|>\n<think></think>"},
    ),
    # Ends a conversation that waits for no answer with the end token.
    "phi": Family(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        _always("<|end|>\n<|assistant|>\n"),
    ),
    # Names the role alone and leaves the channel to the model; writes system text of its own.
    "harmony": Family(
        "<|start|>system<|message|>Knowledge cutoff: 2024-06\nCurrent date: {{ strftime_now('%Y-%m-%d') }}\n"
        "# Valid channels: analysis, commentary, final.<|end|>{% for m in messages %}<|start|>"
        "{{ 'developer' if m.role == 'system' else m.role }}"
        "<|message|>{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
        _always("<|end|><|start|>assistant"),
    ),
    # Opens the assistant's turn, whether or not a header is asked for.
    "command-r7b": Family(
        "{% for m in messages %}<|START_OF_TURN_TOKEN|><|{{ m.role | upper }}_TOKEN|>{{ m.content }}"
        "<|END_OF_TURN_TOKEN|>{% endfor %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"
        "{% if not enable_thinking %}<|START_THINKING|><|END_THINKING|>{% endif %}",
        {
            None: COMMAND_END + "<|START_THINKING|><|END_THINKING|>",
            True: COMMAND_END,
            False: COMMAND_END + "<|START_THINKING|><|END_THINKING|>",
        },
    ),
    # Closes the last turn only where an answer is asked for.
    "chatml-open": Family(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% if add_generation_prompt or not loop.last %}<|im_end|>\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        _always(CHATML_END),
    ),
    # Repeats the whole user turn before the answer.
    "reads-twice": Family(
        CHATML + "{% if add_generation_prompt %}<|im_start|>user\n"
        "Read it again: {{ messages[-1].content }}<|im_end|>\n"
        "<|im_start|>assistant\n{% endif %}",
        _always(CHATML_END),
    ),
    # Marks that are plain text for every tokenizer.
    "vicuna": Family(
        "{% for m in messages %}{{ 'USER: ' if m.role == 'user' else 'ASSISTANT: ' }}"
        "{{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}ASSISTANT:{% endif %}",
        _always("\nASSISTANT:"),
    ),
    "zephyr": Family(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        _always("<|im_end|>\n<|assistant|>\n"),
    ),
}
"""Templates by family; the end token is `<|im_end|>`, that of the tokenizers of the tests."""

UNUSABLE = {
    "wants parts": (
        "{% for m in messages %}{% for part in m.content %}"
        "{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}assistant:"
    ),
    "shouts": "{% for m in messages %}{{ m.content | upper }}{% endfor %}assistant:",
    "asks back": (
        "{% for m in messages %}{{ m.content }}{% endfor %}"
        "{{ '\nthink:' if messages[-1].content | length > 30 else '\nassistant:' }}"
    ),
}
"""Templates whose prompts cannot be ended alike for two texts, or that do not show the text."""
