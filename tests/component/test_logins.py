# SPDX-License-Identifier: Apache-2.0
"""Each way to log in, at a real OpenBao over TLS."""

import pytest

SECRET = ("app", "kv/app/s1")


def login_paths(bao, mark):
    """Where somebody logged in since mark."""
    return {path for operation, path in bao.requests(mark) if path.endswith("/login")}


def test_jwt(workload, bao):
    mark = bao.audit_mark()
    workload.items(SECRET)
    assert workload.once().returncode == 0, workload.log_text()
    assert workload.text("app/username") == "user1"
    assert login_paths(bao, mark) == {"auth/jwt/login"}


def test_jwt_with_placeholders_for_its_own_account_only(workload):
    workload.items(SECRET)
    own = {"mount": "jwt", "role": "{namespace}-{serviceAccount}", "audience": "vault"}
    workload.store({"jwt": own})
    assert workload.once().returncode == 0, workload.log_text()
    workload.store({"jwt": {**own, "role": "default-default"}})
    workload.start().wait_for_reason("LoginFailed")


def test_jwt_in_a_namespace_of_the_manager(workload):
    workload.items(SECRET)
    workload.store(namespace="team-a")
    assert workload.once().returncode == 0, workload.log_text()
    assert workload.text("app/namespace") == "team-a"


def test_kubernetes(workload, manager):
    from managers import configure_kubernetes
    from tokenreview import TokenReviews

    bao = manager.bao
    tls = manager.folder / "tls"
    with TokenReviews(tls / "server.pem", tls / "server.key") as reviews:
        role = {"bound_service_account_names": "shop", "bound_service_account_namespaces": "shop"}
        configure_kubernetes(
            bao, "kubernetes", reviews.url, bao.authority.ca.read_text(), manager.issuer.token(), {"app": role}
        )
        workload.items(SECRET)
        workload.store({"kubernetes": {"mount": "kubernetes", "role": "app", "audience": "vault"}})
        assert workload.once().returncode == 0, workload.log_text()
        assert workload.text("app/username") == "user1"
        assert reviews.seen


def test_approle(workload, manager):
    role_id, secret_id = manager.approle("agent")
    reference = {"name": "approle", "key": "secret.id"}
    workload.store({"appRole": {"mount": "approle", "roleId": role_id, "secretIdRef": reference}})
    workload.secret("approle", secret_id=secret_id.encode())
    workload.items(SECRET)
    assert workload.once(jwt=False).returncode == 0, workload.log_text()
    assert workload.text("app/username") == "user1"


def test_cert(workload, manager, bao):
    mark = bao.audit_mark()
    cert, key = manager.client_certificate
    workload.store({"cert": {"mount": "cert", "role": "app", "secretRef": {"name": "client"}}})
    workload.secret("client", tls_crt=cert.read_bytes(), tls_key=key.read_bytes())
    workload.items(SECRET)
    assert workload.once(jwt=False).returncode == 0, workload.log_text()
    assert workload.text("app/username") == "user1"
    assert login_paths(bao, mark) == {"auth/cert/login"}


@pytest.mark.parametrize("source", ["secret", "flag"])
def test_token(workload, manager, bao, source):
    token = manager.login_approle()["client_token"].encode()
    mark = bao.audit_mark()
    workload.store({"token": {"secretRef": {"name": "token", "key": "token"}}})
    workload.items(SECRET)
    flags = []
    if source == "secret":
        workload.secret("token", token=token)
    else:
        flags = ["--auth-token-file", workload.private("token", token + b"\n")]
    assert workload.once(*flags, jwt=False).returncode == 0, workload.log_text()
    assert workload.text("app/username") == "user1"
    assert login_paths(bao, mark) == set()
    assert ("read", "auth/token/lookup-self") in bao.requests(mark)


@pytest.mark.parametrize(
    ("auth", "hint"),
    [
        ({"mount": "jwt", "role": "nobody", "audience": "vault"}, "no such role"),
        ({"mount": "nowhere", "role": "app", "audience": "vault"}, "auth mount exists"),
        ({"mount": "jwt", "role": "default-default", "audience": "vault"}, "bound_subject"),
    ],
)
def test_a_refused_login_says_what_to_check(workload, auth, hint):
    workload.items(SECRET)
    workload.store({"jwt": auth})
    workload.start().wait_for_reason("LoginFailed")
    assert hint in workload.log_text()
    assert not workload.has("app/username")
    assert workload.alive()


def test_nothing_of_a_credential_is_logged(workload, manager):
    jwt = manager.issuer.token("shop", "shop", ttl=-600)
    workload.items(SECRET)
    workload.start("--auth-jwt-file", workload.private("old", jwt.encode()), jwt=False).wait_for_reason("LoginFailed")
    for part in jwt.split("."):
        assert part not in workload.log_text()
