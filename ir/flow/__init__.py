"""Neurons that are stated by differential equations of any form: how their text is read, what they are (`Flow`), and
what they mean, in plain numpy and scipy."""
