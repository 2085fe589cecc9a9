"""The one way to the traces: whoever writes or reads them imports from here."""

from store.trace_reader import TraceReader
from store.trace_summary import Counts, Stats, TracePage, TraceSummary
from store.trace_writer import TraceWriter, WriteCounts

__all__ = ["Counts", "Stats", "TracePage", "TraceReader", "TraceSummary", "TraceWriter", "WriteCounts"]
