"""TRL itself trains on the exports: what it learns is the answers, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from processing.exports.wanted import Wanted
from tests.processing.exports.versions import call, calls, export, made, result, says, system, telling_rows, tool, user

# TRL calls what transformers will rename.
_OLD_NAME = "ignore:.*gradient_checkpointing.* is deprecated:FutureWarning"
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(_OLD_NAME)]
_TEMPLATE = (
    "{% if tools %}<|im_start|>tools\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}{% endfor %}<|im_end|>"
    "{% endgeneration %}{% else %}{{ message.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module", autouse=True)
def _no_pictures_of_progress() -> None:
    import datasets

    datasets.disable_progress_bars()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """A tokenizer of bytes, made here: nothing is fetched."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made_of = Tokenizer(models.BPE(vocab={piece: at for at, piece in enumerate([*marks, *alphabet])}, merges=[]))
    made_of.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made_of.decoder = decoders.ByteLevel()
    made_of.add_special_tokens(marks)
    return PreTrainedTokenizerFast(
        tokenizer_object=made_of, pad_token=marks[0], eos_token=marks[2], chat_template=_TEMPLATE
    )


def small_model(tokenizer: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=2048,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(shape)


def loaded(folder: Path, tmp_path: Path) -> Any:
    import datasets

    return datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"]


def settings(kind: Any, tmp_path: Path, **more: Any) -> Any:
    return kind(
        output_dir=str(tmp_path / "trained"),
        max_steps=8,
        per_device_train_batch_size=4,
        learning_rate=2e-2,
        use_cpu=True,
        bf16=False,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
        max_length=2048,
        seed=1,
        **more,
    )


def losses(trainer: Any) -> list[float]:
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def learned(trainer: Any, tokenizer: Any) -> list[str]:
    """What the labels of each line say."""
    texts = []
    for example in trainer.train_dataset:
        labels = trainer.data_collator([example])["labels"][0].tolist()
        texts.append(tokenizer.decode([token for token in labels if token != -100]))
    return texts


def rows_with_calls() -> list[dict[str, Any]]:
    mixed = [
        made(
            system("Use tools."),
            user(f"What is {at}?"),
            calls(call("look", arguments), weight=1),
            result("found"),
            says(f"It is {at}."),
            tools=[tool("look", key={"type": ["string", "integer"]})],
        )
        for at, arguments in enumerate(('{"key": 1}', '{"key": "one"}', '{"other": [1, "2", {"x": null}]}', "{}"))
    ]
    history = made(user("one"), says("not learned", 0), user("two"), says("learned"))
    return [*mixed, history, *telling_rows()]


async def test_sft_on_prompts_and_completions_learns_exactly_the_answers(tmp_path: Path, tokenizer: Any) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = rows_with_calls()
    await export(tmp_path / "store", rows, Wanted("trl", tmp_path / "out"))

    data = loaded(tmp_path / "out", tmp_path)
    trainer = SFTTrainer(
        small_model(tokenizer), args=settings(SFTConfig, tmp_path), train_dataset=data, processing_class=tokenizer
    )
    wanted = [_spoken(line["completion"][0]) for line in data]

    assert [text.strip() for text in learned(trainer, tokenizer)] == [text.strip() for text in wanted]
    assert not any("not learned" in text for text in wanted)
    found = losses(trainer)
    assert found[-1] < found[0] * 0.9


async def test_sft_on_whole_conversations_learns_the_assistant_alone(tmp_path: Path, tokenizer: Any) -> None:
    from trl import SFTConfig, SFTTrainer

    result_ = await export(tmp_path / "store", rows_with_calls(), Wanted("trl-messages", tmp_path / "out"))

    data = loaded(tmp_path / "out", tmp_path)
    trainer = SFTTrainer(
        small_model(tokenizer),
        args=settings(SFTConfig, tmp_path, assistant_only_loss=True),
        train_dataset=data,
        processing_class=tokenizer,
    )
    wanted = ["".join(_spoken(message) for message in _assistants(line["messages"])) for line in data]

    assert result_.manifest["left_out"] == {"untrained_answer": 1}
    assert learned(trainer, tokenizer) == wanted
    found = losses(trainer)
    assert found[-1] < found[0] * 0.9


async def test_dpo_prefers_the_label_to_the_recorded_answer(tmp_path: Path, tokenizer: Any) -> None:
    from trl import DPOConfig, DPOTrainer

    rows = [
        made(user(f"Say {word}."), says(f"{word}!"), original_response=f"I cannot say {word}.")
        for word in ("one", "two", "three", "four")
    ]
    await export(tmp_path / "store", rows, Wanted("dpo", tmp_path / "out"))

    trainer = DPOTrainer(
        small_model(tokenizer),
        ref_model=small_model(tokenizer),
        args=settings(DPOConfig, tmp_path),
        train_dataset=loaded(tmp_path / "out", tmp_path),
        processing_class=tokenizer,
    )
    found = losses(trainer)
    margins = [entry["rewards/margins"] for entry in trainer.state.log_history if "rewards/margins" in entry]

    assert found[-1] < found[0]
    assert margins[-1] > 0


def _assistants(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["role"] == "assistant"]


def _spoken(message: dict[str, Any]) -> str:
    """An answer as the template writes it."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    text = "{{ message.content or '' }}{% for call in message.tool_calls or [] %}"
    text += "{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}{% endfor %}<|im_end|>"
    return str(_compile_jinja_template(text).render(message=message))
