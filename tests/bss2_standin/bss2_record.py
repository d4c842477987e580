"""What the stand-ins were called with, in order: (name, arguments)."""

CALLS = []


def note(name, **arguments):
    CALLS.append((name, arguments))
