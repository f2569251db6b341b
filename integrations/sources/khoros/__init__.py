"""Khoros Marketing's notifications API: reading what it sends, and calling it.

What is known of it, and what is not, is described in docs/architecture.md; this package accepts every shape the
vendor's pages show, and every plausible one where they are silent.
"""
