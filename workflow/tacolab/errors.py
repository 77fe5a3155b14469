"""The ways a stage ends without having finished."""

import re

LONGEST = 300  # characters of a word in a message


class UserError(Exception):
    """Bad input or a broken precondition: one line that names the culprit and the remedy.

    The command line prints it without a traceback and exits with 2.
    """


class StageError(Exception):
    """The work itself went wrong and a person must look: a clear message, exit code 1."""


class Interrupted(Exception):  # noqa: N818 - not an error: the work was saved
    """Stopped on purpose with everything saved; the same command continues (exit code 75)."""


def shortened(message: object) -> str:
    """For printing: of a word that no screen holds, such as a broken path, begin and end."""
    half = LONGEST // 2
    return re.sub(
        rf"\S{{{LONGEST},}}", lambda word: f"{word[0][:half]}...{word[0][-half:]}", str(message)
    )
