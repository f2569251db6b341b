"""Django's PostgreSQL backend with two promises more: a dead connection is noticed without asking the server, and a web
request never waits long for a database that is away (see `outage`)."""
