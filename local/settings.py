"""What the environment says about a run, and what the portal's processes are told."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local import ROOT
from local.errors import Refusal
from local.ports import LOOPBACK

# What a configuration for the real systems holds. Any of it, and the sandbox stays out of the way.
REAL_SYSTEM_VARIABLES = (
    "SPREDFAST_API_TOKEN",
    "SPREDFAST_COMPANY_ID",
    "SPREDFAST_LABEL_NAME",
    "ZENDESK_API_URL",
    "ZENDESK_APP_URL",
    "ZENDESK_USER_EMAIL",
    "ZENDESK_API_TOKEN",
    "ZENDESK_OAUTH_CLIENT_ID",
    "SLACK_BOT_TOKEN",
)
SWITCHED_ON = ("1", "true", "yes", "on")
SWITCHED_OFF = ("0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    port: int
    sandbox_port: int
    mail_port: int
    sandbox_off_because: str  # empty while the sandbox is on
    data_dir: Path
    database_url: str  # empty for the embedded one
    redis_url: str  # empty for the embedded one

    @property
    def sandbox_on(self) -> bool:
        return not self.sandbox_off_because

    @property
    def portal_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def sandbox_url(self) -> str:
        return f"http://{LOOPBACK}:{self.sandbox_port}"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """An empty variable counts as one that is not there."""
    port = _port("PORT", environ.get("PORT") or "8000")
    off_because = sandbox_off_because(environ)
    sandbox_port = mail_port = port
    if not off_because:
        sandbox_port = _port("SANDBOX_PORT", environ.get("SANDBOX_PORT") or str(port + 1))
        mail_port = _port("SANDBOX_MAIL_PORT", environ.get("SANDBOX_MAIL_PORT") or str(sandbox_port + 1))
        if len({port, sandbox_port, mail_port}) < 3:
            raise Refusal(
                f"PORT, SANDBOX_PORT and SANDBOX_MAIL_PORT are {port}, {sandbox_port} and {mail_port}: the portal, the "
                "sandbox and its mail server need one each."
            )
    return Settings(
        port=port,
        sandbox_port=sandbox_port,
        mail_port=mail_port,
        sandbox_off_because=off_because,
        data_dir=data_dir(environ),
        database_url=environ.get("DATABASE_URL") or "",
        redis_url=environ.get("REDIS_URL") or "",
    )


def data_dir(environ: Mapping[str, str]) -> Path:
    return (ROOT / Path(environ.get("DATA_DIR") or ".data").expanduser()).resolve()


def sandbox_off_because(environ: Mapping[str, str]) -> str:
    asked = (environ.get("SANDBOX") or "").strip().lower()
    if asked in SWITCHED_OFF:
        return f"SANDBOX={environ['SANDBOX'].strip()}"
    if asked and asked not in SWITCHED_ON:
        raise Refusal(f"SANDBOX is 1 or 0, not {environ['SANDBOX']!r}.")
    real = [name for name in REAL_SYSTEM_VARIABLES if environ.get(name)]
    if not real:
        return ""
    reason = f"values for the real systems are set ({', '.join(real)})"
    return f"{reason}, and SANDBOX={environ['SANDBOX'].strip()} does not override them" if asked else reason


def portal_environment(
    environ: Mapping[str, str], settings: Settings, secrets: Mapping[str, str], database_url: str, redis_url: str
) -> dict[str, str]:
    """The environment of every process of the portal and of the sandbox."""
    defaults = {
        "SECRET_KEY": secrets["secret_key"],
        "ENCRYPTION_KEY": secrets["encryption_key"],
        "LOG_FORMAT": "console",
        "DJANGO_SUPERUSER_USERNAME": "admin",
        "DJANGO_SUPERUSER_PASSWORD": secrets["admin_password"],
        "DJANGO_SUPERUSER_EMAIL": "admin@localhost",
    }
    given = {name: environ[name] for name in defaults if environ.get(name)}
    environment = {
        **inherited(environ),
        **defaults,
        **given,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PORT": str(settings.port),
        "BIND_HOST": LOOPBACK,
        "DATA_DIR": str(settings.data_dir),
        "LOCAL_URL": settings.portal_url,
    }
    if settings.sandbox_on:
        environment |= _sandbox_environment(settings, secrets)
        # Mails arrive in the sandbox, unless somebody names a server.
        environment.setdefault("ALERT_EMAILS", "operations@example.com")
        environment.setdefault("EMAIL_URL", f"smtp://{LOOPBACK}:{settings.mail_port}")
    return environment


def _sandbox_environment(settings: Settings, secrets: Mapping[str, str]) -> dict[str, str]:
    """The stand-in as Khoros and as Zendesk, for the first set-up."""
    return {
        "OUTBOUND_ALLOW_PRIVATE": "true",
        "PUBLIC_URL": settings.portal_url,
        "SANDBOX_URL": settings.sandbox_url,
        "KHOROS_API_URL": settings.sandbox_url,
        "KHOROS_LOGIN_URL": settings.sandbox_url,
        "SPREDFAST_API_TOKEN": "sandbox-khoros-token",
        "SPREDFAST_COMPANY_ID": "42",
        "SPREDFAST_LABEL_NAME": "CreateCase",
        "WALL_LABEL": "Love",
        "ZENDESK_API_URL": settings.sandbox_url,
        "ZENDESK_USER_EMAIL": "agent@example.com",
        "ZENDESK_API_TOKEN": "sandbox-zendesk-token",
        "SLACK_BOT_TOKEN": "xoxb-sandbox-token",
        "SLACK_PEOPLE": "ann@example.com,ben@example.com",
        "SLACK_API_URL": settings.sandbox_url,
        "NOTIFICATION_BEARER_TOKEN": secrets["bearer_token"],
    }


CONFIGURATION = {
    *REAL_SYSTEM_VARIABLES,
    "HEROKU_APP_DEFAULT_DOMAIN_NAME",
    "HEROKU_APP_NAME",
    "NOTIFIER_BEARER_TOKEN",
    "SLACK_API_URL",
    "SLACK_PEOPLE",
    "ZENDESK_OAUTH_CLIENT_SECRET",
    "ALERT_EMAILS",
    "ALERT_FROM",
    "CATCH_UP_SECONDS",
    "DATABASE_URL",
    "DATA_DIR",
    "DEBUG",
    "CONTENT_KEPT_DAYS",
    "DELIVERY_LEASE_SECONDS",
    "DELIVERY_RETRY_DELAYS",
    "EMAIL_URL",
    "ENCRYPTION_KEY",
    "KHOROS_API_URL",
    "KHOROS_LOGIN_URL",
    "KHOROS_OVERLAP_SECONDS",
    "LOCAL_URL",
    "LOG_FORMAT",
    "NOTIFICATION_BEARER_TOKEN",
    "OUTBOUND_ALLOW_PRIVATE",
    "PORT",
    "PUBLIC_URL",
    "PULL_SECONDS",
    "REDIS_URL",
    "SANDBOX",
    "SANDBOX_PORT",
    "SANDBOX_MAIL_PORT",
    "SANDBOX_URL",
    "SECRET_KEY",
    "SWEEP_SECONDS",
    "WATCH_SECONDS",
}


def without_configuration(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment less all that configures a portal."""
    return {name: value for name, value in inherited(environ).items() if name not in CONFIGURATION}


def isolated_environment(
    environ: Mapping[str, str], data: Path, secrets: Mapping[str, str], database_url: str, redis_url: str
) -> dict[str, str]:
    """For tests and measurements: nothing of a configuration for the real systems gets in."""
    return {
        **without_configuration(environ),
        "SECRET_KEY": secrets["secret_key"],
        "ENCRYPTION_KEY": secrets["encryption_key"],
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DATA_DIR": str(data),
        "OUTBOUND_ALLOW_PRIVATE": "true",
        "PUBLIC_URL": "http://127.0.0.1:8000",
        "LOG_FORMAT": "console",
    }


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours with the virtual environment first, as if it had been activated."""
    virtual = ROOT / ".venv"
    environment = {name: value for name, value in environ.items() if name != "PYTHONHOME"}
    return {
        **environment,
        "VIRTUAL_ENV": str(virtual),
        "PATH": os.pathsep.join([str(virtual / "bin"), environ.get("PATH") or os.defpath]),
        "PYTHONUNBUFFERED": "1",
    }


def without_libpq(environ: Mapping[str, str]) -> dict[str, str]:
    """PGHOST, PGOPTIONS and their like, meant for another server, would also steer connections to ours."""
    return {name: value for name, value in environ.items() if not re.fullmatch("PG[A-Z]+", name)}


def _port(variable: str, value: str) -> int:
    if re.fullmatch("[0-9]{1,5}", value.strip()) and 1 <= int(value) <= 65535:
        return int(value)
    raise Refusal(f"{variable} is a number from 1 to 65535, not {value!r}.")
