"""A certificate's days and names, as the ssl module decodes it. Pure."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from minicdn.doctor.finding import Finding, fail, ok, warn

SOON_DAYS = 14.0
"""Authorities that renew by themselves do so a month before."""
SHOWN_MAX = 6


def days_left(certificate: Mapping[str, Any], now: float) -> float | None:
    try:
        return (ssl.cert_time_to_seconds(certificate["notAfter"]) - now) / 86400
    except (LookupError, ValueError, TypeError):
        return None


def days_until(certificate: Mapping[str, Any], now: float) -> float:
    """Until it begins to count; 0: it does."""
    try:
        return max(0.0, (ssl.cert_time_to_seconds(certificate["notBefore"]) - now) / 86400)
    except (LookupError, ValueError, TypeError):
        return 0.0


def names_of(certificate: Mapping[str, Any]) -> list[str]:
    return [str(name) for kind, name in certificate.get("subjectAltName", ()) if kind in ("DNS", "IP Address")]


def is_for(names: list[str], host: str) -> bool:
    try:
        wanted = ip_address(host)
    except ValueError:
        host = host.lower().rstrip(".")
        parent = "*." + host.partition(".")[2]
        return any(name.lower() in (host, parent) for name in names)
    return any(_address(name) == wanted for name in names)


def _address(name: str) -> object:
    try:
        return ip_address(name)
    except ValueError:
        return None


def certificate_days(check: str, certificate: Mapping[str, Any], now: float, *, renewing: str) -> Finding:
    left, until = days_left(certificate, now), days_until(certificate, now)
    if left is None:
        return ok(check, "it does not say until when it counts")
    if left <= 0:
        return fail(check, f"it expired {-left:.0f} days ago", f"{renewing}; if it is in order, this machine's clock is wrong")
    if until > 0:
        return fail(check, f"it counts only in {until:.1f} days", "set this machine's clock, or wait")
    if left < SOON_DAYS:
        return warn(check, f"it expires in {left:.1f} days", renewing)
    return ok(check, f"{left:.0f} days left")


def own_certificate(check: str, certificate: Mapping[str, Any], host: str, now: float) -> Finding:
    """A node's own. host: by which clients call it."""
    found = certificate_days(check, certificate, now, renewing="make a new one (minicdn cert), and give peers its fingerprint")
    if found.advice:
        return found
    names = names_of(certificate)
    shown = ", ".join(names[:SHOWN_MAX]) + (" and more" if len(names) > SHOWN_MAX else "")
    if not is_for(names, host):
        advice = f"curl and browsers would refuse it; make one with minicdn cert --host {host}, or give --advertise with one of its names"
        return warn(check, f"it is for {shown or 'no name at all'}, but this node is known as {host}", advice)
    return ok(check, f"{found.seen}, for {shown}, and its key fits")
