"""What happens to a notification, one package for each step; docs/architecture.md describes the layers.

Imports point down this list of layers, never up; packages on one line do not import each other:

    admin | jobs | management          entry points of staff, the queue and the command line
    operations                         alarms, the first set-up
    routing | outcomes                 notification -> deliveries and people's repairs; what became of tickets
    delivery                           a due delivery -> its receipt
    connections | subscriptions        calls to accounts, subscriptions at Khoros
    intake | mapping | installation | companies | flow | sign_in | walls
    models | sources | destinations    tables; providers, which know neither the database nor the tasks
    domain                             posts, templates, expressions
    infra                              HTTP, encryption, the queue, Redis
"""
