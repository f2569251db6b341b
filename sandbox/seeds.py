"""The posts a new sandbox starts with, each awkward in its own way, as real posts are."""

from typing import Any

LONG_STORY = (
    "A long story about my order, from the beginning. "
    "I ordered on Monday, was told Wednesday, and on Friday the parcel was shown as delivered to a neighbour "
    "I do not have. The hotline asked for a photograph of the missing parcel. "
) * 14

POSTS: tuple[dict[str, Any], ...] = (
    {
        "network": "twitter",
        "author": "Maja Lindqvist",
        "handle": "maja_l",
        "text": "My parcel has been “out for delivery” for three days 📦😤 Can someone please look into order 88-1204?",
        "followers": 1284,
    },
    {
        "network": "facebook",
        "author": "نور الحسيني",
        "handle": "noor.alhusseini",
        "text": "مرحباً، لم أتمكن من الدخول إلى حسابي منذ الأمس. رقم الطلب 4471 - هل يمكنكم المساعدة؟",
        "followers": 312,
    },
    {
        "network": "instagram",
        "author": "Café Zoë ☕",
        "handle": "cafe.zoe",
        "text": "Love the new cups! 😍👩🏽‍🍳🇫🇷 Three arrived broken though… who do we write to?",
        "followers": 20950,
    },
    {
        "network": "twitter",
        "author": "<b>Bold</b> Tester",
        "handle": "bold_tester",
        "text": 'Does this work? {{ticket.requester.email}} and <b>bold</b> & "quotes" <script>alert(1)</script>',
        "followers": 7,
    },
    {
        "network": "facebook",
        "author": "Jonas Weber",
        "handle": "jonas.weber.338",
        "text": LONG_STORY.strip(),
        "followers": 89,
    },
    {
        "network": "linkedin",
        "author": "Priya Raman",
        "handle": "priyaraman",
        "text": "We are considering your service for 400 seats. Whom may we talk to about prices?",
        "followers": 5120,
        "link": "",
    },
    {
        "network": "youtube",
        "author": "דנה כהן",
        "handle": "dana.c",
        "text": "הסרטון מצוין! אבל הקישור בתיאור לא עובד 🔗 (מוצר X-200)",
        "followers": 64,
        "content_type": "comment",
    },
    {
        "network": "twitter",
        "author": "佐藤 美咲",
        "handle": "misaki_sato",
        "text": "返品の手続きがわかりません。サポートの方、教えていただけますか？🙏",
        "followers": 431,
    },
)
