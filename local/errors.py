"""How the launcher ends when it is not its own fault."""


class Refusal(Exception):
    """A cause that a person can do something about, told in one plain sentence and never as a traceback."""


class StopAsked(Exception):
    """Somebody pressed Ctrl-C or ended the launcher: leave at once, in order."""
