# SPDX-License-Identifier: Apache-2.0
"""A secret manager in front of a database: OpenBao, PostgreSQL, and what they are filled with.

    with Manager() as m:
        m.bao.api("GET", "kv/data/app/s1").data

    python3 -m managers up --dir D [--listen IP] [--netns PATH] [--nodes 3] [--ttl 6s --max-ttl 15s] [--transit]
    python3 -m managers env --dir D
    python3 -m managers down --dir D

up and env print assignments for a shell; LH_ROLE_ID_FILE and the like name files, no secret is printed.
"""

import argparse
import json
import pathlib
import shlex
import sys

from openbao import OpenBao
from pki import Issuer
from postgres import PostgreSQL
from procs import Work, end_folder
from provision import configure_jwt, configure_kubernetes, provision

__all__ = ["Manager", "configure_jwt", "configure_kubernetes"]


class Manager:
    """The whole bed in one work folder. Without a folder it makes one; close() ends all and removes the folder."""

    def __init__(self, folder=None, *, listen="127.0.0.1", netns=None, nodes=1, **provision_options):
        self.work = Work(folder)
        self.folder = self.work.path
        self.options = provision_options
        self.postgres = PostgreSQL(self.work, listen=listen, netns=netns)
        self.bao = OpenBao(self.work, listen=listen, netns=netns, nodes=nodes)
        self.issuer = Issuer(self.folder / "issuer")

    def start(self):
        try:
            self.postgres.start()
            self.bao.start()
            self.bao.authority.leaf("client", "/CN=app-client", ["DNS:app-client"], usage="clientAuth")
            provision(self.bao, self.postgres, self.issuer, **self.options)
            self.approle_files("agent")
            self._file("jwt", self.issuer.token(ttl=24 * 3600))
        except BaseException:
            self.close()
            raise
        return self

    def close(self):
        self.work.end()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    # -- logins

    def approle(self, role):
        """role_id and a fresh secret_id."""
        role_id = self.bao.api("GET", f"auth/approle/role/{role}/role-id").data["role_id"]
        secret_id = self.bao.api("POST", f"auth/approle/role/{role}/secret-id", {}).data["secret_id"]
        return role_id, secret_id

    def approle_files(self, role):
        """The same in two files, whose paths it returns."""
        role_id, secret_id = self.approle(role)
        return self._file(f"{role}.role_id", role_id), self._file(f"{role}.secret_id", secret_id)

    def login_approle(self, role="agent"):
        """auth of a login: client_token, accessor, lease_duration ..."""
        role_id, secret_id = self.approle(role)
        return self.bao.api("POST", "auth/approle/login", {"role_id": role_id, "secret_id": secret_id}, token="").data

    def login_jwt(self, role="app", jwt=None, mount="jwt", namespace=None):
        jwt = jwt or self.issuer.token()
        body = {"role": role, "jwt": jwt}
        return self.bao.api("POST", f"auth/{mount}/login", body, token="", namespace=namespace).data

    @property
    def client_certificate(self):
        """Paths of certificate and key for the cert method, role app."""
        tls = self.folder / "tls"
        return tls / "client.pem", tls / "client.key"

    # -- database

    def pg_users(self):
        return self.postgres.users()

    def pg_login(self, user, password):
        return self.postgres.login(user, password)

    # -- for shells

    def env(self):
        values = {
            "LH_BED": self.folder,
            "LH_BAO_ADDR": self.bao.address(),
            "LH_BAO_CA": self.bao.ca,
            "LH_BAO_PID": self.bao.pid(),
            "LH_BAO_AUDIT_LOG": self.bao.audit_file(),
            "LH_ROOT_TOKEN_FILE": self.bao.root_token_file,
            "LH_ROLE_ID_FILE": self.folder / "agent.role_id",
            "LH_SECRET_ID_FILE": self.folder / "agent.secret_id",
            "LH_JWT_FILE": self.folder / "jwt",
            "LH_CLIENT_CERT": self.client_certificate[0],
            "LH_CLIENT_KEY": self.client_certificate[1],
            "LH_PG_HOST": self.postgres.host,
            "LH_PG_PORT": self.postgres.port,
            "LH_PG_DATABASE": "app",
            "LH_PG_ADMIN": "dbroot",
            "LH_PG_ADMIN_PASSWORD_FILE": self.postgres.password_file,
        }
        return {k: str(v) for k, v in values.items()}

    def _file(self, name, text):
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path


def _print_env(values):
    for name, value in values.items():
        print(f"{name}={shlex.quote(value)}")


def _up(args):
    options = {"shop_ttl": args.ttl, "shop_max_ttl": args.max_ttl, "transit": args.transit}
    manager = Manager(args.dir, listen=args.listen, netns=args.netns, nodes=args.nodes, **options).start()
    (manager.folder / "env.json").write_text(json.dumps(manager.env()))
    manager.work.detach()
    _print_env(manager.env())


def main(argv=None):
    parser = argparse.ArgumentParser(prog="managers", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {"up": "start and fill", "env": "print the assignments again", "down": "end and remove"}.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--dir", required=True, type=pathlib.Path, help="work folder, made and removed by this")
        if name == "up":
            command.add_argument("--listen", default="127.0.0.1", help="address to serve on")
            command.add_argument("--netns", help="path of the network namespace to serve in")
            command.add_argument("--nodes", type=int, default=1, choices=(1, 3), help="raft nodes")
            command.add_argument("--ttl", default="20s", help="default_ttl of the database role shop")
            command.add_argument("--max-ttl", default="60s", help="max_ttl of the database role shop")
            command.add_argument("--transit", action="store_true", help="mount transit as well")
    args = parser.parse_args(argv)
    if args.command == "up":
        _up(args)
    elif args.command == "env":
        _print_env(json.loads((args.dir / "env.json").read_text()))
    else:
        end_folder(args.dir)
    return 0


if __name__ == "__main__":
    sys.exit(main())
