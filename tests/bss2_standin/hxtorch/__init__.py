"""Not hxtorch: a stand-in of this project's own, with the names and arguments of those parts that generated scripts
call, as `signatures.py` has them. It checks what it is given, and simulates it on a grid like hxtorch's mock mode."""

from bss2_record import note

HELD = []


def init_hardware():
    assert not HELD, "the hardware is held already"
    HELD.append(True)
    note("init_hardware")


def release_hardware():
    assert HELD, "the hardware is not held"
    HELD.clear()
    note("release_hardware")
