"""Integer networks as stand-alone programs for Lava."""
