"""The names of the databases in a data directory."""

TRACES_FILE = "traces.db"
"""Traces and all that belongs to them; ingest alone writes to it."""
WORK_FILE = "work.db"
"""Datasets, jobs, calls of teachers and reviews."""
