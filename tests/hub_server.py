"""A server on the loopback that speaks what huggingface_hub asks of the Hub, and breaks in chosen ways."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from faulty_server import File, Handler, Server


class Hub(Server):
    """``repos`` has revisions of files by their names; downloads have the faults of ``faulty_server``."""

    def __init__(self):
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.stated: dict[str, dict] = {}  # of a file's name: what is told of it in place of the truth
        self.uploaded: dict[str, bytes] = {}  # by SHA-256
        self.commits: list[str] = []
        self.forbidden = False
        super().__init__()
        self.RequestHandlerClass = HubHandler

    def add(self, repo, files, revision="main", **faults):
        self.repos.setdefault(repo, {})[revision] = files
        for name, data in files.items():
            self.files[f"/{repo}/resolve/{revision}/{name}"] = File(data, **faults)


class HubHandler(Handler, BaseHTTPRequestHandler):
    def answer(self, status, content=b"", **headers):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_HEAD(self):
        file = self.server.files.get(self.path)
        if file is None:
            self.answer(404, X_Error_Code="EntryNotFound")
            return
        repo, revision, name = re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/(.+)", self.path).groups()
        self.answer(
            200,
            file.data,
            X_Repo_Commit=commit(repo, revision),
            ETag=f'"{facts(self.server, name, file.data)["sha256"]}"',
        )

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if self.server.repos.get(path.removeprefix("/api/models/")):
            path += "/revision/main"
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path)
        if found is None:
            super().do_GET()
            return
        self.server.requests.append((self.path, None))
        revisions = self.server.repos.get(found[1])
        if revisions is None:
            self.answer(404, X_Error_Code="RepoNotFound")
        elif found[2] not in revisions:
            self.answer(404, X_Error_Code="RevisionNotFound")
        else:
            files = [facts(self.server, name, data) for name, data in revisions[found[2]].items()]
            self.answer(
                200, {"id": found[1], "sha": commit(found[1], found[2]), "siblings": files, "private": False}
            )

    def do_PUT(self):
        data = self.body()
        self.server.uploaded[hashlib.sha256(data).hexdigest()] = data
        self.answer(200)

    def do_POST(self):
        path, data = urlsplit(self.path).path, self.body()
        if self.server.forbidden:
            self.answer(403, {"error": "You don't have the rights"})
        elif path == "/api/repos/create":
            asked = json.loads(data)
            repo = f"{asked['organization']}/{asked['name']}"
            self.answer(200, {"url": self.server.url(repo), "id": repo, "name": repo})
        elif path == "/api/validate-yaml":
            self.answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith((".safetensors", ".png")) else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(data)["files"]
            ]
            self.answer(200, {"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": self.server.url(f"put/{each['oid']}")}}}
                for each in json.loads(data)["objects"]
            ]
            self.answer(200, {"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            self.commit(path, [json.loads(line) for line in data.splitlines()])
        else:
            self.answer(404)

    def commit(self, path, lines):
        repo, revision = re.fullmatch(r"/api/models/(.+)/commit/(.+)", path).groups()
        files = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.server.commits.append(value["summary"])
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.server.uploaded[value["oid"]]
        self.server.add(repo, files, revision)
        made = commit(repo, revision)
        self.answer(200, {"commitUrl": self.server.url(f"{repo}/commit/{made}"), "commitOid": made})


def commit(repo, revision):
    return hashlib.sha1(f"{repo} {revision}".encode()).hexdigest()


def facts(server, name, data):
    told = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), **server.stated.get(name, {})}
    lfs = {"sha256": told["sha256"], "size": told["size"], "pointerSize": 134}
    blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()  # of files that Git itself keeps
    return {"rfilename": name, "size": told["size"], "blobId": blob, "lfs": lfs} | told
