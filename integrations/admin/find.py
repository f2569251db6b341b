"""“What happened to this post?”: one box on every page, and the answer as one timeline. And the handbook."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from integrations.admin.search import find_posts
from integrations.admin.text.journey import journey
from integrations.infra.text import storable
from integrations.models import PostContent, Subscription

LOOKS_AT = "Ids and links of posts, numbers and links of tickets, external IDs, and words of authors and texts."


def find_page(request: HttpRequest) -> HttpResponse:
    """`q`: what was typed; `post`: the id of one post."""
    if not request.user.has_perm("integrations.view_delivery"):
        raise PermissionDenied
    typed, post_id = (storable(request.GET.get(name, "")).replace("\x00", "").strip() for name in ("q", "post"))
    if post_id:
        return _answer(request, typed, journey=journey(post_id))
    found = find_posts(typed) if typed else None
    if found is not None and len(found.post_ids) == 1:
        query = urlencode({"q": typed, "post": found.post_ids[0]})
        return HttpResponseRedirect(f"{reverse('find')}?{query}")
    return _answer(request, typed, found=found, posts=_shown(found.post_ids) if found else [])


def handbook_page(request: HttpRequest) -> HttpResponse:
    """All that an operator needs, on one page."""
    frame = {**admin.site.each_context(request), "title": "Handbook", "page_title": "Handbook"}
    return TemplateResponse(request, "admin/integrations/handbook.html", frame)


def _shown(post_ids: list[str]) -> list[dict[str, str]]:
    """As the list has them, in their order."""
    rows = PostContent.objects.filter(post_id__in=post_ids).order_by("pk").defer("outcome")
    contents = {content.post_id: content for content in rows}
    return [
        {
            "id": post_id,
            "author": contents[post_id].author if post_id in contents else "",
            "text": contents[post_id].text if post_id in contents else "(no longer kept)",
        }
        for post_id in post_ids
    ]


def _answer(request: HttpRequest, typed: str, **context: Any) -> HttpResponse:
    frame = {
        **admin.site.each_context(request),
        "title": "What happened to this post?",
        "page_title": "What happened to this post?",
        "typed": typed,
        "looks_at": LOOKS_AT,
        "fetched": Subscription.objects.filter(deleted_at__isnull=True, company__isnull=False).exclude(
            receives_by="push"
        )[:10],
    }
    return TemplateResponse(request, "admin/integrations/find.html", frame | context)
