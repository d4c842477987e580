"""The command line: one file a command, `app` ties them together, `console` is how they speak."""
