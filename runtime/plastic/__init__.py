"""The emulator of plastic integer networks: one stream, column by column, in C."""
