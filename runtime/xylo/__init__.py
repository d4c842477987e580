"""What runs networks for Xylo: the emulator, and what a run of a program is."""
