"""A server that could not be asked: what that means, and what to do. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from minicdn.core.nodeurl import is_loopback_url


def not_reached(url: str, kind: str, text: str) -> tuple[str, str]:
    """What was seen, and what to do; kind and text as wire/examining.py's NotSeen has them."""
    host = urlsplit(url).hostname or url
    match kind:
        case "name":
            return f"the name {host} does not resolve ({text})", f"check the spelling of {host}, and this machine's DNS or VPN"
        case "refused":
            return f"nothing listens at {url} (connection refused)", "start the program there, or correct the address and port"
        case "no connection":
            return f"{url}: {text}", _way_advice(url)
        case "unreachable":
            return f"{url}: {text}", _way_advice(url)
        case "silent":
            return (
                f"{url}: {text}",
                "a program there is frozen or overloaded, or something on the way swallows what it says; look there, start it anew",
            )
        case "certificate":
            return f"{url}: its certificate is not to be trusted: {text}", _certificate_advice(text)
        case "fingerprint":
            return (
                f"{url}: {text}",
                "take the fingerprint from the line that the node's start printed; if that is another one, somebody is in between",
            )
        case "tls":
            return f"{url}: no TLS connection ({text})", "if the server there speaks plain HTTP, write http:// in place of https://"
        case "cut":
            return f"{url}: it hung up without an answer", "if the server there speaks TLS, write https://; else look at its log"
        case "url":
            return f"{url}: {text}", "correct the URL"
        case _:
            return f"{url}: what answers there speaks no HTTP ({text})", f"another program has port {_port(url)}; correct the address"


def _way_advice(url: str) -> str:
    if is_loopback_url(url):
        return "start the program there, or correct the port"
    return "open its port in the firewall of that machine, and check that both are in the same network or VPN"


def _certificate_advice(text: str) -> str:
    if "expired" in text or "not yet valid" in text:
        return "renew the certificate there; if it is in order, this machine's clock is wrong"
    if "mismatch" in text or "not valid for" in text:
        return "use a name that is in the certificate, or have one made for this name"
    return "a node of minicdn cert's is known by --fingerprint; another server's authority by the environment variable SSL_CERT_FILE"


def _port(url: str) -> int:
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)
