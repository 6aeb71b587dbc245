"""The exceptions that end a verb without a traceback."""


class UserError(Exception):
    """Bad input, told in one sentence: what happened, where, and what to do about it.

    The command line prints the sentence without a traceback and exits with status 2.
    """


class Interrupted(Exception):
    """A run that was asked to end, saved its state, and goes on when it is started again.

    The command line exits with status 75 (EX_TEMPFAIL of sysexits.h: try again).
    """


class OutOfMemory(Exception):
    """A model is too large for the memory there is, even one volume at a time: a result, no fault.

    Args:
        asked: what was asked for when it failed, in words.
    """

    def __init__(self, asked: str) -> None:
        super().__init__(f"out of memory: {asked}")
        self.asked = asked
