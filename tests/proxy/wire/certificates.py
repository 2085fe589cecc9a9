"""A certificate authority of the test's own, made by the `openssl` command."""

import ssl
import subprocess
from pathlib import Path


class Authority:
    """An authority in a folder, and the certificates that it signs.

    Attributes:
        file: Its certificate, as a PEM file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "authority.pem"
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=Authority of a test", "-addext", "basicConstraints=critical,CA:TRUE",
            "-keyout", str(folder / "authority.key"), "-out", str(self.file),
        )  # fmt: skip

    def server_context(self, names: str = "DNS:localhost,IP:127.0.0.1", *, days: int = 2) -> ssl.SSLContext:
        """Make the context of a server with a certificate for the names."""
        key, request, certificate = (self._folder / f"leaf.{ending}" for ending in ("key", "csr", "pem"))
        extensions = self._folder / "leaf.ext"
        extensions.write_text(f"subjectAltName={names}\n")
        _openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=leaf",
            "-keyout", str(key), "-out", str(request),
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._folder / "authority.key"),
            "-CAcreateserial", "-days", str(days), "-extfile", str(extensions), "-out", str(certificate),
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Make the context of a client that trusts this authority alone."""
        return ssl.create_default_context(cafile=self.file)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
