"""Ready mappings to e-mail. Data only: each is rendered over its event's example by a test."""

from integrations.destinations.base import Recipe
from integrations.domain.conditions import all_of

RECIPES = (
    Recipe(
        slug="crisis-rule",
        title="Crisis rule to e-mail",
        description="Each post that one of your rules in Khoros applies to, one thread for each conversation. For "
        "one rule only, add the condition “Rule is …”. To have it in the war room too, add “Crisis "
        "rule to the war room”.",
        event="rule-applied",
        settings={
            "subject": "{{ rule_name|default:A rule }}: {{ author|default:someone }} on {{ network }}",
            "text": "{{ author|default:Someone }} wrote on {{ network }}:\n\n{{ text }}\n\nFollowers: {{ followers }}",
            "case": "conversation",
        },
    ),
    Recipe(
        slug="tell-about-tickets",
        title="Mail about each ticket",
        description="A mail with the ticket's number and links to ticket and post, once the ticket exists.",
        event="stream-item-label-applied",
        after="ticket",
        settings={
            "subject": "Ticket {{ made_number|default:not created }}: {{ author|default:someone }} on {{ network }}",
            "text": "{{ author|default:Someone }} wrote on {{ network }}:\n\n{{ text }}",
        },
    ),
    Recipe(
        slug="vips",
        title="Mail about posts of VIPs",
        description="Only posts of authors with 10,000 followers or more; change the number to yours.",
        event="stream-item-label-applied",
        conditions=all_of(("followers", "at_least", 10_000)),
        settings={
            "subject": "{{ author|default:Someone }} ({{ followers }} followers) on {{ network }}",
            "text": "{{ text }}",
        },
    ),
    Recipe(
        slug="account-lost",
        title="Mail when an account lost its connection",
        description="A social account that has to be connected to Khoros again before it works again.",
        event="credential-deauth",
        settings={
            "subject": "Connect {{ credential_name|default:an account }} again ({{ network }})",
            "text": "{{ text }}\n{{ khoros_message }}\n{{ details }}",
        },
    ),
    Recipe(
        slug="alarms",
        title="Mail about alarms of Casebridge",
        description="When something needs a person: what it is, what to do and a link. One thread for each alarm. "
        "For some kinds only, add the condition “Kind of alarm”.",
        event="casebridge-alarm",
        settings={"subject": "Casebridge: {{ title }}", "text": "{{ text }}", "case": "conversation"},
    ),
)
