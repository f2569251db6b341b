"""Outgoing HTTP: which addresses may be called, how a call is made, and what its answer or its failure is."""
