"""Ready mappings to Slack. Data only: each is rendered over its event's example by a test."""

from integrations.destinations.base import Recipe
from integrations.domain.conditions import all_of
from integrations.domain.post import LABEL_APPLIED

RECIPES = (
    Recipe(
        slug="tell-a-channel",
        title="Tell a channel about each ticket",
        description="A message with the ticket's number and links to ticket and post, once the ticket exists.",
        event=LABEL_APPLIED,
        after="ticket",
        settings={
            "title": "Ticket {{ made_number|default:not created }}: {{ author|default:someone }} on {{ network }}",
            "text": "{{ text|short:1500 }}",
        },
    ),
    Recipe(
        slug="tell-a-person-about-vips",
        title="Tell one person about posts of VIPs and their tickets",
        description="Only posts of authors with 10,000 followers or more; change the number to yours.",
        event=LABEL_APPLIED,
        after="ticket",
        conditions=all_of(("followers", "at_least", 10_000)),
        settings={
            "title": "{{ author|default:Someone }} ({{ followers }} followers) on {{ network }}",
            "text": "*Ticket {{ made_number }}*\n{{ text|short:1500 }}",
        },
    ),
    Recipe(
        slug="keyword-rule",
        title="Tell a channel when a keyword rule fires",
        description="Each post that one of your rules in Khoros applies to.",
        event="rule-applied",
        settings={
            "title": "{{ rule_name|default:A rule }}: {{ author|default:someone }} on {{ network }}",
            "text": "{{ text|short:1500 }}",
        },
    ),
    Recipe(
        slug="post-published",
        title="Tell a channel when a scheduled post was published",
        description="Each message of your own that is live, with links to each post.",
        event="message-published",
        settings={
            "title": "Published: {{ title|default:a post }} ({{ network }})",
            "text": "{{ text|short:1500 }}\nScheduled for {{ scheduled_at }}\nPublished {{ published_at }}\n"
            "{{ publication_links }}",
        },
    ),
    Recipe(
        slug="boost-native-post",
        title="Tell adtech that a Facebook post was scheduled natively",
        description="So that the team can boost it. Khoros sends this when a post is scheduled.",
        event="message-sent-to-network",
        conditions=all_of(("network", "is", ["facebook"])),
        settings={
            "title": "To be boosted: {{ title|default:a post }} on {{ network }}",
            "text": "{{ text|short:1500 }}\nScheduled for {{ scheduled_at }}\nAccount {{ accounts }}\n"
            "{{ publication_links }}",
        },
    ),
    Recipe(
        slug="account-lost",
        title="Tell a channel when an account lost its connection",
        description="A social account that has to be connected to Khoros again before it works again.",
        event="credential-deauth",
        settings={
            "title": "Connect {{ credential_name|default:an account }} again ({{ network }})",
            "text": "{{ text }}\n{{ khoros_message }}\n{{ details }}",
        },
    ),
    Recipe(
        slug="alarms",
        title="Tell a channel about alarms of Casebridge",
        description="When something needs a person: what it is, what to do and a link. One thread for each alarm. "
        "For some kinds only, add the condition “Kind of alarm”.",
        event="casebridge-alarm",
        settings={"title": "{{ title }}", "text": "{{ text|short:1500 }}", "case": "conversation"},
    ),
)
