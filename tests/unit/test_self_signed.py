"""The certificate made for one run: whom it is for, what it is for, and that no two are the same."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from firefly_ws.self_signed import self_signed


def test_it_is_for_the_names_and_addresses_asked_for_each_once() -> None:
    certificate = x509.load_pem_x509_certificate(self_signed(["localhost", "::1", "127.0.0.1", "localhost"])[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address(one) for one in ("::1", "127.0.0.1")]


def test_it_is_a_servers_no_authoritys_and_ends_soon() -> None:
    certificate = x509.load_pem_x509_certificate(self_signed(["localhost"])[0])
    found = certificate.extensions
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(found.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= datetime.timedelta(days=31)
    certificate.verify_directly_issued_by(certificate)


def test_each_has_a_key_of_its_own() -> None:
    one, other = (load_pem_private_key(self_signed(["localhost"])[0], None) for _ in range(2))
    assert one.public_key() != other.public_key()


def test_the_fingerprint_is_that_of_the_certificate() -> None:
    pem, fingerprint = self_signed(["localhost"])
    der = ssl.PEM_cert_to_DER_cert(pem.decode().partition("-----BEGIN PRIVATE")[0])
    assert fingerprint.replace(":", "").lower() == hashlib.sha256(der).hexdigest()


def test_a_name_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(ValueError, match="A-label"):
        self_signed(["bücher.example"])
