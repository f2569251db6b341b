"""Addresses of walls: who knows one reads it."""

from django.urls import path

from integrations.walls.views import wall_feed, wall_json, wall_page, wall_posts

URLS = [
    path("<str:token>/", wall_page, name="wall-page"),
    path("<str:token>/posts", wall_posts, name="wall-posts"),
    path("<str:token>/feed.rss", wall_feed, name="wall-rss"),
    path("<str:token>/feed.json", wall_json, name="wall-json"),
]
