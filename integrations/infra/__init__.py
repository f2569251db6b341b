"""What everything stands on: HTTP, encryption, Redis, the queue, the database's clock.

Promised: nothing here knows of posts, tickets or tables, except for the queue's names of tasks.
"""
