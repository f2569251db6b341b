"""The journey of a notification.

views -> intake -> tasks -> {routing, delivery} -> models -> {sources, destinations} -> {post, http}

Imports point that one way. Providers (sources/, destinations/) know neither the database nor the tasks.
"""
