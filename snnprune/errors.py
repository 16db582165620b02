"""What is said to a user whose input cannot be used."""


class UserError(Exception):
    """Input that a person can mend: one sentence on what was expected, what came and what to do.

    The command line prints the sentence and ends with exit code 2; a library user may catch it.
    """


class CompactionError(UserError, ValueError):
    """A network that cannot be made smaller, or not so: which population or layer, why, and what to do."""
