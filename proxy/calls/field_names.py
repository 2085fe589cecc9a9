"""Header fields that are treated by their name, in lower case: those that routes may not set.

They stand apart from what treats them, because every process that has settings needs no more than the names.
"""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that concern one connection only (RFC 9110, 7.6.1; `proxy-connection` by custom). `Trailer` is none of
them: the trailer fields it announces are passed on."""

OUR_PREFIX = b"x-tracemill-"
"""Request fields of this family are read here and never forwarded."""

CREDENTIAL_FIELDS = frozenset(
    {
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"x-goog-api-key",
        b"ocp-apim-subscription-key",
        b"helicone-auth",
        b"x-portkey-api-key",
        b"proxy-authorization",
        b"cookie",
    }
)
"""Fields that say who the client is, of the common upstreams and gateways."""
