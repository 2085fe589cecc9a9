"""What monitoring asks, and the description of it all."""

from tracemill.client.call import API, Asked, Call, as_json, as_text


def healthz() -> Call[str]:
    """Ask whether the admin side answers; needs no token."""
    return Call(Asked("healthz", "GET", "/healthz"), as_text)


def readyz() -> Call[str]:
    """Ask whether the store can be read."""
    return Call(Asked("readyz", "GET", "/readyz"), as_text)


def metrics() -> Call[str]:
    """Give all metrics in the text format of Prometheus."""
    return Call(Asked("metrics", "GET", "/metrics"), as_text)


def openapi() -> Call[dict[str, object]]:
    """Give the OpenAPI 3.1 document of the admin API."""
    return Call(Asked("openapi", "GET", f"{API}/openapi.json"), as_json)
