"""What the code says of the members of a closed list, in the text under each."""

import ast
import inspect
import textwrap
from enum import Enum


def member_texts(kind: type[Enum]) -> dict[str, str]:
    """Return the text under each member of an enumeration, which Python itself throws away.

    Raises:
        AssertionError: A member has none.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    texts: dict[str, str] = {}
    name = None
    for statement in definition.body:  # type: ignore[attr-defined]
        if isinstance(statement, ast.Assign):
            name = statement.targets[0].id  # type: ignore[attr-defined]
        elif name and isinstance(statement, ast.Expr):
            texts[name] = " ".join(ast.literal_eval(statement.value).split())
            name = None
    missing = [member for member in kind.__members__ if member not in texts]
    if missing:
        raise AssertionError(f"{kind.__name__}: nothing is said of {', '.join(missing)}")
    return texts
