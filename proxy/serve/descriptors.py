"""Open files: how many connections the system lets a worker carry.

A process that has none left can accept nobody: the system resets whoever calls, and no answer, count or line tells of
it. So the limit is raised as far as the system allows, and connections past it are refused while one can still answer.
"""

import resource

_OWN = 128
"""What is needed beside the connections: journal, metrics, pipes, names being looked up, clients being refused."""


def carried_connections(wanted: int) -> int:
    """Raise this process's limit of open files if need be; return how many clients' connections it carries.

    Args:
        wanted: As many as there may be; each may need a second connection, to an upstream.

    Returns:
        `wanted`, or less where the system allows less.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + _OWN
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):  # some systems allow less than they say
        raised = soft
    return min(wanted, max((raised - _OWN) // 2, 1))
