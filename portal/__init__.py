"""The Django project: settings, Celery, addresses, and what answers before Django's own middleware."""

from portal.celery import app as celery_app

__all__ = ["celery_app"]
