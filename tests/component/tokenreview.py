# SPDX-License-Identifier: Apache-2.0
"""A fake: the one API that the manager's kubernetes method calls, TokenReview. Component tests have no API server; the
same login against a real one is part of the cluster tests.
"""

import base64
import http.server
import json
import ssl
import threading


class TokenReviews:
    """Serves TokenReview over TLS; says of every token what its payload claims."""

    def __init__(self, cert, key):
        self.seen = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.seen.append(review["spec"].get("audiences"))
                body = json.dumps(outer.review(review["spec"])).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @staticmethod
    def review(spec):
        payload = spec["token"].split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        namespace, name = claims["sub"].split(":")[2:]
        wanted = spec.get("audiences") or claims["aud"]
        shared = [a for a in claims["aud"] if a in wanted]
        user = {
            "username": claims["sub"],
            "uid": claims["kubernetes.io"]["serviceaccount"]["uid"],
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"],
        }
        return {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "metadata": {"name": name},
            "status": {"authenticated": bool(shared), "user": user, "audiences": shared},
        }

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
