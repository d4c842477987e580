"""Not pynn-brainscales: a stand-in of this project's own; see `brainscales2/__init__.py` below it."""
