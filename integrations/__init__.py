"""The journey of a notification, a room a folder; docs/architecture.md has the plan of the house.

Imports point down this list, never up; rooms on one line do not see each other:

    admin | jobs | management          what staff, the queue and the command line enter by
    operations                         alarms, the first set-up
    recovery | routing | outcomes      a person's repairs, notification -> deliveries, what became of tickets
    delivery                           a due delivery -> its receipt
    connections | subscriptions        calls to accounts, subscriptions at Khoros
    intake | mapping | installation | companies | flow | sign_in
    models | sources | destinations    tables; providers, which know neither the database nor the tasks
    domain                             posts, templates, expressions
    infra                              HTTP, encryption, the queue, Redis
"""
