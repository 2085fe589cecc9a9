"""The predictions file: plain questions as `question, answer, prediction, context`, conversations as messages."""

from processing.prediction_line import prediction_line
from store.recorded.message import Message, ToolCall

ANSWER = Message("assistant", "42", extra={"weight": 1})


def test_a_single_question_is_written_plainly() -> None:
    prompt = (Message("system", "Be brief."), Message("user", "What is 6 x 7?"))
    assert prediction_line(prompt, ANSWER, Message("assistant", "43")) == {
        "question": "What is 6 x 7?",
        "answer": "42",
        "prediction": "43",
        "context": None,
    }


def test_a_conversation_is_written_as_messages_and_weights_stay_out() -> None:
    call = Message("assistant", None, (ToolCall("add", '{"a": 1}', "c1"),), extra={"weight": 1})
    prompt = (Message("user", "Hi"), Message("assistant", "Hello", extra={"weight": 0}), Message("user", "Add 1"))
    line = prediction_line(prompt, call, Message("assistant", "2"))
    assert line == {
        "prompt": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Add 1"},
        ],
        "completion": [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
            }
        ],
        "prediction": [{"role": "assistant", "content": "2"}],
    }


def test_a_question_that_holds_an_image_keeps_it_as_a_message() -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "data:image/png,x"}}]
    line = prediction_line((Message("user", parts),), ANSWER, ANSWER)
    assert line["prompt"] == [{"role": "user", "content": parts}]


def test_no_answer_is_null_and_a_refusal_is_its_text() -> None:
    prompt = (Message("user", "What?"),)
    assert prediction_line(prompt, ANSWER, None)["prediction"] is None
    assert prediction_line(prompt, ANSWER, Message("assistant", refusal="No."))["prediction"] == "No."
    longer = (*prompt, Message("assistant", "That."), Message("user", "Why?"))
    assert prediction_line(longer, ANSWER, None)["prediction"] is None
