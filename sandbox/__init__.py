"""A stand-in for the Khoros Marketing notifications API, the Zendesk API and Slack.

It answers over real sockets, keeps what it was told in one SQLite file and can be made to fail in every
way the two services are known to fail. Nothing here reaches anyone: it listens on this computer alone,
and the only requests it makes are the notifications and webhooks it was asked to send.

Start it with `python -m sandbox --port 8001 --data FOLDER`, or inside a test with
`sandbox.server.running_sandbox(folder)`.
"""
