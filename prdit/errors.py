"""The one exception for whatever a user can mend."""


class UserError(Exception):
    """Bad input, told in one sentence: what happened, where, and what to do about it.

    The command line prints the sentence without a traceback and exits with status 2.
    """
