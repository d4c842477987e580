"""Headline results, each from one configuration file: trained anew, measured, and kept beside the published figure."""
