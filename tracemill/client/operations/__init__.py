"""Every operation of the admin API, once: what is asked, and what the answer is read as; a module for each resource."""

from tracemill.client.operations import change, conversation, erasure, feedback, health, imports, job, stats, trace

__all__ = ["change", "conversation", "erasure", "feedback", "health", "imports", "job", "stats", "trace"]
