"""Khoros Marketing's notifications API: reading what it sends, and calling it.

What is known about it and what is not: docs/architecture.md. This package accepts every shape the vendor's pages show,
and every plausible one where they are silent.
"""
