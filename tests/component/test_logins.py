# SPDX-License-Identifier: Apache-2.0
"""Each way to log in, at a real OpenBao over TLS."""

import pytest
from workload import made

SECRET = ("app", "kv/app/s1")


def login_paths(bao, mark):
    """Where somebody logged in since mark."""
    return {path for operation, path in bao.requests(mark) if path.endswith("/login")}


def test_jwt(either, bao):
    mark = bao.audit_mark()
    either.items(SECRET)
    assert either.once().returncode == 0, either.log_text()
    assert either.text("app/username") == "user1"
    assert login_paths(bao, mark) == {"auth/jwt/login"}


def test_jwt_with_placeholders_for_its_own_account_only(either):
    either.items(SECRET)
    own = {"mount": "jwt", "role": "{namespace}-{serviceAccount}", "audience": "vault"}
    either.store({"jwt": own})
    assert either.once().returncode == 0, either.log_text()
    either.store({"jwt": {**own, "role": "default-default"}})
    either.start().wait_for_reason("LoginFailed")


def test_jwt_in_a_namespace_of_the_manager(either):
    either.items(SECRET)
    either.store(namespace="team-a")
    assert either.once().returncode == 0, either.log_text()
    assert either.text("app/namespace") == "team-a"


def test_kubernetes(either, manager):
    from managers import configure_kubernetes
    from tokenreview import TokenReviews

    bao = manager.bao
    tls = manager.folder / "tls"
    with TokenReviews(tls / "server.pem", tls / "server.key") as reviews:
        role = {"bound_service_account_names": "shop", "bound_service_account_namespaces": "shop"}
        configure_kubernetes(
            bao, "kubernetes", reviews.url, bao.authority.ca.read_text(), manager.issuer.token(), {"app": role}
        )
        either.items(SECRET)
        either.store({"kubernetes": {"mount": "kubernetes", "role": "app", "audience": "vault"}})
        assert either.once().returncode == 0, either.log_text()
        assert either.text("app/username") == "user1"
        assert reviews.seen


def test_approle(either, manager):
    role_id, secret_id = manager.approle("agent")
    reference = {"name": "approle", "key": "secret.id"}
    either.store({"appRole": {"mount": "approle", "roleId": role_id, "secretIdRef": reference}})
    either.secret("approle", secret_id=secret_id.encode())
    either.items(SECRET)
    assert either.once().returncode == 0, either.log_text()
    assert either.text("app/username") == "user1"


def test_cert(either, manager, bao):
    mark = bao.audit_mark()
    cert, key = manager.client_certificate
    either.store({"cert": {"mount": "cert", "role": "app", "secretRef": {"name": "client"}}})
    either.secret("client", tls_crt=cert.read_bytes(), tls_key=key.read_bytes())
    either.items(SECRET)
    assert either.once().returncode == 0, either.log_text()
    assert either.text("app/username") == "user1"
    assert login_paths(bao, mark) == {"auth/cert/login"}


def test_token(either, manager, bao):
    token = manager.login_approle()["client_token"].encode()
    mark = bao.audit_mark()
    either.store({"token": {"secretRef": {"name": "token", "key": "token"}}})
    either.secret("token", token=token + b"\n")
    either.items(SECRET)
    assert either.once().returncode == 0, either.log_text()
    assert either.text("app/username") == "user1"
    assert login_paths(bao, mark) == set()
    assert ("read", "auth/token/lookup-self") in bao.requests(mark)


@pytest.mark.parametrize(("method", "flag"), [("token", "--auth-token-file"), ("jwt", "--auth-jwt-file")])
def test_a_flag_replaces_the_credential(bin_dir, manager, tmp_path, method, flag):
    with made(bin_dir, "run", manager, tmp_path) as run:
        run.items(SECRET)
        credential = manager.issuer.token("shop", "shop")
        if method == "token":
            run.store({"token": {"secretRef": {"name": "not-there", "key": "token"}}})
            credential = manager.login_approle()["client_token"]
        done = run.once(flag, run.private("credential", credential.encode()))
        assert done.returncode == 0, run.log_text()
        assert run.text("app/username") == "user1"


@pytest.mark.parametrize(
    ("auth", "hint"),
    [
        ({"mount": "jwt", "role": "nobody", "audience": "vault"}, "no such role"),
        ({"mount": "nowhere", "role": "app", "audience": "vault"}, "auth mount exists"),
        ({"mount": "jwt", "role": "default-default", "audience": "vault"}, "bound_subject"),
    ],
)
def test_a_refused_login_says_what_to_check(either, auth, hint):
    either.items(SECRET)
    either.store({"jwt": auth})
    either.start().wait_for_reason("LoginFailed")
    assert hint in either.log_text()
    assert not either.has("app/username")
    assert either.alive()


def test_nothing_of_a_credential_is_logged(either, manager):
    old = manager.issuer.token("shop", "shop", ttl=-600)
    either.jwt = lambda: old
    either.items(SECRET)
    either.start().wait_for_reason("LoginFailed")
    for part in old.split("."):
        assert part not in either.log_text()
