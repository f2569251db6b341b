"""Celery's tasks, each a doorway into a room, and the sweep that queues whatever is due.

Promised: a task may run twice without harm, and one that is lost costs the time until the next sweep.
"""
