"""What is said to a user whose input cannot be used."""


class UserError(Exception):
    """Input that a person can mend: one sentence on what was expected, what came and what to do.

    The command line prints the sentence and ends with exit code 2; a library user may catch it.
    """


class CompactionError(UserError, ValueError):
    """A network that cannot be made smaller, or not so: which population or layer, why, and what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of what another library says, to be put into a sentence."""
    return str(error).strip().partition("\n")[0]


def in_one_line(error: BaseException) -> str:
    """Return what another library says of a file that anybody may have written: at most 200 letters."""
    return " ".join(str(error).split())[:200]
