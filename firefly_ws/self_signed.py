"""A certificate that signs itself, for one run of a server; knows no server and keeps no file.

The only file of the library that knows `cryptography`, which the extra ``tls`` installs.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable

__all__ = ["self_signed"]

_HOUR = datetime.timedelta(hours=1)
_LIFE = datetime.timedelta(days=30)


def self_signed(names: Iterable[str]) -> tuple[bytes, str]:
    """A new key and a certificate for the host *names* and addresses, valid for 30 days: both as PEM in one.

    The second is the certificate's SHA-256, as browsers show it. Raises ``ImportError`` where `cryptography` is not
    installed, ``ValueError`` for a name that can stand in no certificate.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise ImportError(
            "a certificate is made with the package cryptography, which is not installed: "
            "pip install 'firefly-ws[tls]', or give a certificate of your own"
        ) from error

    def general(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    # Not the host's name: it may be longer than the 64 characters that fit here. Clients look at the alternatives.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "firefly-ws, made for one run")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    # No authority: whoever comes to trust it trusts this one server.
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _HOUR)  # clocks differ
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([general(one) for one in dict.fromkeys(names)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem, certificate.fingerprint(hashes.SHA256()).hex(":").upper()
