"""The ways a stage ends without having finished."""


class UserError(Exception):
    """Bad input or a broken precondition: one line that names the culprit and the remedy.

    The command line prints it without a traceback and exits with 2.
    """


class StageError(Exception):
    """The work itself went wrong and a person must look: a clear message, exit code 1."""


class Interrupted(Exception):  # noqa: N818 - not an error: the work was saved
    """Stopped on purpose with everything saved; the same command continues (exit code 75)."""
