"""The emulator of integer networks: batched, on all cores, bit for bit what `ir/integer/step.py` means."""
