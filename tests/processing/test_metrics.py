import pytest
from hypothesis import given
from hypothesis import strategies as st

from processing.metrics import (
    TEXT_METRICS,
    TOOL_METRICS,
    answer_text,
    binary,
    classification_scores,
    mean_scores,
    meteor,
    rouge,
    score_reply,
)
from store.recorded.message import Message, ToolCall


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ("The cat sat.", "the CAT sat", 1.0),
        ("transferring money", "transferred money", 1.0),
        ("a b c d", "a x c d", 0.75),
        ("police killed the gunman", "police kill the gunman", 1.0),
        ("the gunman kill police", "police kill the gunman", 0.5),
        ("", "words", 0.0),
        ("ad", "ads", 0.0),  # three letters are not stemmed
        ('{"name": "f", "arguments": {"x": 1}}', '{"name":"f","arguments":{"x":1}}', 1.0),
    ],
)
def test_rouge_is_the_f1_of_the_longest_common_subsequence(prediction: str, reference: str, expected: float) -> None:
    assert rouge(prediction, reference) == pytest.approx(expected)


@pytest.mark.parametrize("reference", ["", "...", "残高はいくらですか", "Привет"])
def test_text_without_latin_words_has_no_word_score(reference: str) -> None:
    assert rouge("anything", reference) is None
    assert meteor("anything", reference) is None
    assert binary(reference, reference) == 1


@given(st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_rouge_agrees_with_the_plain_table(first: list[str], second: list[str]) -> None:
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, one in enumerate(first):
        for j, other in enumerate(second):
            table[i + 1][j + 1] = table[i][j] + 1 if one == other else max(table[i][j + 1], table[i + 1][j])
    expected = 2 * table[-1][-1] / (len(first) + len(second))
    assert rouge(" ".join(first), " ".join(second)) == pytest.approx(expected)


def test_meteor_by_hand() -> None:
    # 6 of 6 match in one chunk: 1 - 0.5 * (1/6)**3.
    assert meteor("the cat sat on the mat", "the cat sat on the mat") == pytest.approx(1 - 0.5 / 216)
    # 2 of 3 and of 4 match in 2 chunks: P 2/3, R 1/2, mean 10PR/(R+9P) = 0.512820..., penalty 0.5.
    assert meteor("cats the sat", "cat sat down here") == pytest.approx(10 / 3 / 6.5 * 0.5)
    assert meteor("nothing shared", "other words") == 0


def test_accuracy_and_each_class() -> None:
    pairs = [("billing", "billing"), ("billing ", "technical"), ("technical", "technical"), ("nonsense", "billing")]
    scores = classification_scores(pairs, ["billing", "technical", "feature_request"])
    assert scores == {
        "accuracy": 0.5,
        "billing": {"precision": 0.5, "recall": 0.5, "f1-score": 0.5, "support": 2},
        "technical": {"precision": 1.0, "recall": 0.5, "f1-score": pytest.approx(2 / 3), "support": 2},
        "feature_request": {"precision": 0.0, "recall": 0.0, "f1-score": 0.0, "support": 0},
    }
    assert classification_scores([])["accuracy"] is None


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ("classification", ("accuracy",)),
        ("question-answering", TEXT_METRICS),
        ("chat-completion", TEXT_METRICS),
        ("tool-calling-closed-book", TOOL_METRICS),
        ("multi-turn-tool-calling-closed-book", TOOL_METRICS),
    ],
)
def test_each_task_has_its_metrics(task: str, names: tuple[str, ...]) -> None:
    message = Message("assistant", "Hello there")
    scores = score_reply(message, message, task=task)
    assert tuple(scores) == names
    assert all(score is not None and score > 0.9 for score in scores.values())


def test_an_answer_is_written_as_text_whatever_it_is() -> None:
    call = ToolCall("f", '{"x": 1}', "id")
    assert answer_text(Message("assistant", "hi")) == "hi"
    assert answer_text(Message("assistant", None, (call,))) == '{"name":"f","arguments":{"x":1}}'
    assert answer_text(Message("assistant", None, (call, ToolCall("g", "{")))) == (
        '[{"name":"f","arguments":{"x":1}},{"name":"g","arguments":"{"}]'
    )


def test_means_leave_out_what_is_missing() -> None:
    assert mean_scores([{"a": 1.0, "b": None}, {"a": 0.0, "b": None}]) == {"a": 0.5, "b": None}
