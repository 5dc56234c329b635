# SPDX-License-Identifier: Apache-2.0
"""What the tests expect to find in the manager: mounts, secrets, roles, login methods, policies."""

import secrets

from postgres import ADMIN, DATABASE
from procs import wait_until

CREATE_USER = [
    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'; "
    f'GRANT CONNECT ON DATABASE {DATABASE} TO "{{{{name}}}}";'
]

# Name, default_ttl, max_ttl; "shop" comes on top with the ttls that the caller chooses.
DATABASE_ROLES = [
    *((f"slow{i}", "1h", "24h") for i in range(1, 6)),
    *((f"mid{i}", "60s", "10m") for i in range(1, 6)),
    *((f"fast{i}", "20s", "60s") for i in range(1, 6)),
]
STATIC_ROLES = [("static1", "10s"), ("static2", "24h")]

POLICY = """
path "kv/data/app/*" { capabilities = ["read", "create", "update"] }
path "kv/metadata/app/*" { capabilities = ["read", "list"] }
path "kv1/app/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "database/static-creds/*" { capabilities = ["read"] }
path "pki/issue/web" { capabilities = ["update"] }
path "pki/sign/web" { capabilities = ["update"] }
path "transit/*" { capabilities = ["update"] }
"""

# Role of approle, its token's settings. norenew: a token that may read and nothing else.
APPROLES = {
    "agent": {"token_ttl": "1h", "token_max_ttl": "24h"},
    "t60": {"token_ttl": "60s", "token_max_ttl": "24h"},
    "short": {"token_ttl": "20s", "token_max_ttl": "60s"},
    "norenew": {"token_ttl": "1h", "token_max_ttl": "24h", "token_no_default_policy": True},
    "batch": {"token_ttl": "5m", "token_type": "batch"},
}


def put_kv2(bao, path, data, namespace=None):
    """Writes a secret of the mount kv. A mount that was just made refuses writes for a moment."""

    def written():
        answer = bao.api("POST", f"kv/data/{path}", {"data": data}, namespace=namespace, check=False)
        return answer.data if answer.status == 200 else None

    return wait_until(f"write to kv/data/{path}", written, 10)


def configure_jwt(bao, mount, public_keys, issuer, roles, namespace=None):
    """A jwt method at mount that checks tokens against public keys. roles: name -> settings beside the common ones."""
    _enable_auth(bao, mount, "jwt", namespace)
    bao.api(
        "POST",
        f"auth/{mount}/config",
        {"jwt_validation_pubkeys": public_keys, "bound_issuer": issuer},
        namespace=namespace,
    )
    for name, settings in roles.items():
        role = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"], "token_policies": ["app"]}
        role.update({"token_ttl": "1h", "token_max_ttl": "24h", **settings})
        bao.api("POST", f"auth/{mount}/role/{name}", role, namespace=namespace)


def configure_kubernetes(bao, mount, host, ca_pem, reviewer_token, roles, namespace=None):
    """A kubernetes method at mount that asks the API server. roles: name -> settings beside the common ones."""
    _enable_auth(bao, mount, "kubernetes", namespace)
    config = {"kubernetes_host": host, "kubernetes_ca_cert": ca_pem, "token_reviewer_jwt": reviewer_token}
    bao.api("POST", f"auth/{mount}/config", {**config, "disable_local_ca_jwt": True}, namespace=namespace)
    for name, settings in roles.items():
        role = {"audience": "vault", "token_policies": ["app"], "token_ttl": "1h", "token_max_ttl": "24h", **settings}
        bao.api("POST", f"auth/{mount}/role/{name}", role, namespace=namespace)


def subject(namespace, service_account):
    """Role settings that admit one ServiceAccount by jwt."""
    return {"bound_subject": f"system:serviceaccount:{namespace}:{service_account}"}


def provision(bao, postgres, issuer, *, shop_ttl="20s", shop_max_ttl="60s", transit=False, namespaces=("team-a",)):
    """Fills a fresh server."""
    for name, settings in {
        "kv": {"type": "kv", "options": {"version": "2"}},
        "kv1": {"type": "kv", "options": {"version": "1"}},
        "database": {"type": "database"},
        "pki": {"type": "pki", "config": {"max_lease_ttl": "87600h"}},
        **({"transit": {"type": "transit"}} if transit else {}),
    }.items():
        bao.api("POST", f"sys/mounts/{name}", settings)
    bao.api("PUT", "sys/policies/acl/app", {"policy": POLICY})
    _secrets(bao)
    _database(bao, postgres, shop_ttl, shop_max_ttl)
    _pki(bao)
    if transit:
        bao.api("POST", "transit/keys/app", {})
    _logins(bao, issuer)
    for namespace in namespaces:
        _namespace(bao, issuer, namespace)


def _secrets(bao):
    for i in range(1, 6):
        put_kv2(bao, f"app/s{i}", {"username": f"user{i}", "password": f"pw-{i}-{secrets.token_hex(8)}"})
    bao.api("POST", "kv1/app/s1", {"username": "u", "password": "p", "ttl": "30s"})


def _database(bao, postgres, shop_ttl, shop_max_ttl):
    bao.api(
        "POST",
        "database/config/app",
        {
            "plugin_name": "postgresql-database-plugin",
            "allowed_roles": "*",
            "connection_url": "postgresql://{{username}}:{{password}}@"
            f"{postgres.host}:{postgres.port}/{DATABASE}?sslmode=disable",
            "username": ADMIN,
            "password": postgres.password,
            "max_open_connections": 8,
        },
    )
    for name, ttl, max_ttl in [*DATABASE_ROLES, ("shop", shop_ttl, shop_max_ttl)]:
        add_database_role(bao, name, ttl, max_ttl)
    for name, period in STATIC_ROLES:
        postgres.query(f"create role {name} login password '{secrets.token_hex(8)}'")
        role = {"db_name": "app", "username": name, "rotation_period": period}
        bao.api("POST", f"database/static-roles/{name}", role)


def add_database_role(bao, name, ttl, max_ttl):
    """A role of dynamic users, or new ttls for one that exists."""
    role = {"db_name": "app", "creation_statements": CREATE_USER, "default_ttl": ttl, "max_ttl": max_ttl}
    bao.api("POST", f"database/roles/{name}", role)


def _pki(bao):
    key = {"key_type": "ec", "key_bits": 256}
    bao.api("POST", "pki/root/generate/internal", {"common_name": "leasehold test root", "ttl": "8760h", **key})
    role = {"allowed_domains": "example.test", "allow_subdomains": True, "ttl": "5m", "max_ttl": "1h", **key}
    bao.api("POST", "pki/roles/web", role)


def _logins(bao, issuer):
    _enable_auth(bao, "approle", "approle")
    for name, settings in APPROLES.items():
        role = {"token_policies": ["app"], "secret_id_num_uses": 0, **settings}
        bao.api("POST", f"auth/approle/role/{name}", role)
    _enable_auth(bao, "cert", "cert")
    bao.api(
        "POST",
        "auth/cert/certs/app",
        {
            "certificate": bao.authority.ca.read_text(),
            "allowed_common_names": ["app-client"],
            "token_policies": ["app"],
            "token_ttl": "20m",
        },
    )
    roles = {
        "app": {},
        "short": {"token_ttl": "20s", "token_max_ttl": "60s"},
        "default-default": subject("default", "default"),
        "shop-shop": subject("shop", "shop"),
    }
    configure_jwt(bao, "jwt", issuer.public_keys(), issuer.NAME, roles)


def _namespace(bao, issuer, name):
    bao.api("POST", f"sys/namespaces/{name}", {})
    bao.api("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}}, namespace=name)
    bao.api("PUT", "sys/policies/acl/app", {"policy": POLICY}, namespace=name)
    put_kv2(bao, "app/s1", {"username": "user1", "namespace": name}, namespace=name)
    configure_jwt(bao, "jwt", issuer.public_keys(), issuer.NAME, {"app": {}}, namespace=name)


def _enable_auth(bao, mount, kind, namespace=None):
    """Enables a login method unless it is there already."""
    if f"{mount}/" not in bao.api("GET", "sys/auth", namespace=namespace).data:
        bao.api("POST", f"sys/auth/{mount}", {"type": kind}, namespace=namespace)
