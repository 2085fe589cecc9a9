"""What kind of answer an example asks for, so that a split leaves no kind out."""

from processing.example import Example
from store.recorded.message_form import text_of


def stratum_of(example: Example, *, is_labelled: bool) -> str:
    """Name the class or the tools of the last recorded answer; text that is no label has no stratum, which is "".

    Args:
        example: Judged by its recorded answer, the only one there is when examples are shared out.
        is_labelled: Whether answers are labels.
    """
    answer = example.messages[example.targets[-1]]
    if answer.tool_calls:
        return "tools " + ", ".join(sorted({call.name for call in answer.tool_calls}))
    return "class " + text_of(answer).strip().strip("\"'`.").casefold() if is_labelled else ""
