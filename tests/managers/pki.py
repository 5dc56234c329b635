# SPDX-License-Identifier: Apache-2.0
"""Certificates and signed tokens of a test bed, made with the openssl command."""

import base64
import json
import pathlib
import subprocess
import time
import uuid


def openssl(*args, data=None):
    done = subprocess.run(["openssl", *map(str, args)], input=data, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {args[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def ec_key(path):
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path)


class Authority:
    """A certificate authority in a folder: ca.pem, ca.key, and leaves NAME.pem, NAME.key."""

    def __init__(self, folder, name="leasehold test CA"):
        self.folder = pathlib.Path(folder)
        self.ca = self.folder / "ca.pem"
        self._key = self.folder / "ca.key"
        self.folder.mkdir(parents=True)
        ec_key(self._key)
        openssl(
            *("req", "-x509", "-new", "-key", self._key, "-sha256", "-days", 30, "-subj", f"/CN={name}"),
            *("-addext", "basicConstraints=critical,CA:true"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", self.ca),
        )

    def leaf(self, name, subject, alt_names, usage="serverAuth", days=30):
        """Makes NAME.pem and NAME.key (again). Returns their paths."""
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        ec_key(key)
        extensions.write_text(
            f"basicConstraints=CA:false\nkeyUsage=digitalSignature\nextendedKeyUsage={usage}\n"
            f"subjectAltName={','.join(alt_names)}\n"
        )
        openssl("req", "-new", "-key", key, "-subj", subject, "-out", request)
        openssl(
            *("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key, "-days", days, "-sha256"),
            *("-set_serial", f"0x{uuid.uuid4().hex[:16]}", "-extfile", extensions, "-out", cert),
        )
        request.unlink()
        extensions.unlink()
        return cert, key


def _b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _raw_signature(der):
    """The two integers of an ECDSA signature in DER, as JWS wants them: 32 bytes each."""
    out, at = b"", 2
    for _ in range(2):
        length = der[at + 1]
        out += der[at + 2 : at + 2 + length].lstrip(b"\0").rjust(32, b"\0")
        at += 2 + length
    return out


class Issuer:
    """Issues tokens that look like a Kubernetes ServiceAccount's, signed by keys of its own."""

    NAME = "https://issuer.example.test"

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self._keys = {"ES256": self.folder / "es256.key", "RS256": self.folder / "rs256.key"}
        self.folder.mkdir(parents=True)
        ec_key(self._keys["ES256"])
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self._keys["RS256"])

    def public_keys(self):
        """PEM of every key, for jwt_validation_pubkeys."""
        return [openssl("pkey", "-in", k, "-pubout").decode() for k in self._keys.values()]

    def token(self, namespace="default", service_account="default", audience="vault", ttl=600, alg="ES256", **claims):
        """A token for system:serviceaccount:NAMESPACE:SERVICE_ACCOUNT. ttl in seconds; claims override."""
        now = int(time.time())
        body = {
            "iss": self.NAME,
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            "aud": [audience],
            "iat": now,
            "nbf": now,
            "exp": now + ttl,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": service_account, "uid": str(uuid.uuid4())},
            },
        }
        body.update(claims)
        head = {"alg": alg, "typ": "JWT"}
        signed = _b64(json.dumps(head).encode()) + b"." + _b64(json.dumps(body).encode())
        signature = openssl("dgst", "-sha256", "-sign", self._keys[alg], data=signed)
        if alg == "ES256":
            signature = _raw_signature(signature)
        return (signed + b"." + _b64(signature)).decode()
