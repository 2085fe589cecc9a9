"""The program that `tracemill serve` becomes: `python -m tracemill.serving_process DESCRIPTOR`."""

import sys

# asyncio loads TLS where Python has it, and does without where it has not. The supervisor speaks it with nobody, and it
# is a quarter of all that would be held; so here Python has none.
sys.modules["ssl"] = None  # type: ignore[assignment]

from tracemill.ending import ending_in_order  # noqa: E402
from tracemill.serving import main  # noqa: E402

if __name__ == "__main__":
    with ending_in_order():
        main(int(sys.argv[1]))
