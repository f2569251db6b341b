"""What happens to a notification, one package for each step; docs/architecture.md describes the layers.

Imports point down this list of layers, never up; packages on one line do not import each other:

    admin | jobs | management          entry points of staff, the queue and the command line
    operations                         alarms, the first set-up
    routing | outcomes                 which deliveries there are, and what staff do with them; what became of them
    delivery                           a new delivery; a due one -> its receipt
    connections | subscriptions        calls to accounts, subscriptions at Khoros
    intake | mapping | installation | companies | flow | sign_in | walls
    models | sources | destinations    tables; providers, which know neither the database nor the tasks
    domain                             posts, templates, expressions
    infra                              HTTP, encryption, the queue, Redis
"""
