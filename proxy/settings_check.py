"""What settings have to fulfil together, each of them being possible for itself."""

import ipaddress
import os
import re
from dataclasses import replace

from proxy.declaration import Secret
from proxy.errors import SettingsError
from proxy.otlp.config import check_extra, read_headers, traces_url
from proxy.price_config import check_provider
from proxy.redaction.rule import Rule
from proxy.settings import ENV_PREFIX, ServeSettings

FIXED = ("host", "port", "admin_host", "admin_port", "data_dir", "no_capture", "workers", "otlp_endpoint")
"""Settings that decide which processes there are and where they listen: they stay while a server runs."""
_TOKEN = re.compile(r"[!-~]+")


def check_together(settings: ServeSettings) -> None:
    """Check that the settings go with one another, with the environment and with what is installed.

    Raises:
        SettingsError: They do not; the message says what to change.
    """
    if settings.upstream is None and not settings.routes:
        raise SettingsError(
            f"upstream is missing; give --upstream, {ENV_PREFIX}UPSTREAM or upstream: in a YAML file, or routes:."
        )
    routes = settings.route_table().routes
    if settings.require_proxy_key and all(route.credential is None for route in routes):
        raise SettingsError(
            "require_proxy_key is on, but no route has a key of its own to take a proxy key's place; give a route "
            "api_key_env (routes.md)."
        )
    if settings.upstream_ca_file is not None and not settings.upstream_ca_file.is_file():
        raise SettingsError(f"upstream_ca_file is {str(settings.upstream_ca_file)!r}: no such file.")
    _check_otlp(settings)
    _check_redaction(settings)
    _check_prices(settings)
    _check_retention(settings)
    if settings.no_capture and settings.on_capture_failure == "refuse":
        raise SettingsError("no_capture records no call, and on_capture_failure: refuse wants all; leave one out.")
    _check_admin(settings)


def _check_admin(settings: ServeSettings) -> None:
    if not is_loopback(settings.admin_host) and settings.admin_token is None and settings.admin_read_token is None:
        raise SettingsError(
            f"admin_host is {settings.admin_host!r}, which others can reach; set {ENV_PREFIX}ADMIN_TOKEN to a random "
            "token of at least 16 characters, or listen on 127.0.0.1."
        )
    if settings.admin_token is not None and settings.admin_token == settings.admin_read_token:
        raise SettingsError("admin_token and admin_read_token are the same; give each scope a token of its own.")
    for name in ("admin_token", "admin_read_token"):
        token: Secret | None = getattr(settings, name)
        if token is not None and not _TOKEN.fullmatch(token.in_the_clear()):
            raise SettingsError(f"{name}: use visible ASCII characters without spaces, as a header field can carry.")


def _check_otlp(settings: ServeSettings) -> None:
    if settings.otlp_endpoint is not None:
        traces_url(settings.otlp_endpoint)
        read_headers(settings.otlp_headers_env, os.environ)
        check_extra()
        if settings.no_capture:
            raise SettingsError("otlp_endpoint has no effect with no_capture: there are no traces to send.")
    elif settings.otlp_content or settings.otlp_headers_env is not None:
        raise SettingsError("otlp_content and otlp_headers_env have no effect without otlp_endpoint.")


def _check_retention(settings: ServeSettings) -> None:
    content, metadata = settings.content_retention_days, settings.metadata_retention_days
    if content is not None and metadata is not None and content > metadata:
        raise SettingsError(
            f"content_retention_days is {content:g} and metadata_retention_days {metadata:g}: content cannot "
            "outlive its trace. Give the content the shorter time."
        )
    if settings.no_capture and (content, metadata, settings.max_store_bytes) != (None, None, None):
        raise SettingsError("retention has no effect with no_capture: the store is left as it is.")


def _check_prices(settings: ServeSettings) -> None:
    for entry in settings.prices:
        if entry.provider is not None:
            check_provider(entry.provider)
    if settings.no_capture and settings.prices:
        raise SettingsError("prices has no effect with no_capture: nothing is stored.")


def _check_redaction(settings: ServeSettings) -> None:
    names = [rule.name for rule in settings.redact_rules]
    for rule in settings.redact_rules:
        Rule(rule)
        if names.count(rule.name) > 1:
            raise SettingsError(f"redact_rules names {rule.name!r} twice; give each rule a name of its own.")
    if settings.redact_allow and not settings.is_redacting:
        raise SettingsError("redact_allow has no effect with redact: off and without redact_rules.")
    if settings.is_redacting and settings.no_capture:
        raise SettingsError("redact and redact_rules have no effect with no_capture: nothing is stored.")


def keep_what_is_fixed(gathered: ServeSettings, in_force: ServeSettings) -> tuple[ServeSettings, list[str]]:
    """Put what is in force in place of what cannot change, and tell what would have changed."""
    kept = {name: getattr(in_force, name) for name in FIXED}
    changed = [name for name, value in kept.items() if getattr(gathered, name) != value]
    return replace(gathered, **kept), changed


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach what listens on that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
