"""The conformance suite: small networks of every framework, and spikec's own, through every front end and every target.

`python -m conformance` (with `tests/` on the path, as `make conformance` has it) runs all of it and writes
`results.json` and docs/conformance.md; tests/test_conformance.py runs a small part with every `make test`.
"""
