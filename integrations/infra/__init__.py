"""What everything stands on: HTTP, encryption, Redis, the queue, the database's clock.

Promised: nothing here reads or writes a table, or decides about a post. It knows some of their words: the queue's names
of tasks, what often occurs in bodies (packing), and the fields of a failure that staff are told.
"""
