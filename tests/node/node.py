"""A node without a cluster: runs rendered workloads as Docker containers, as a kubelet would.

What it keeps of Kubernetes: init containers, commands and arguments, environment, Secrets and ConfigMaps as files,
volumes that stay, the security context (account, read-only root, no capabilities), probes, rolling updates and
Recreate, preStop and grace. A Service is a name that leads to the ready pods. What it leaves out: scheduling, network
policies, HPAs, minReadySeconds. The gateway is Traefik, told as its Gateway API provider would tell it.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import os
import re
import socket
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from local.gateway import program
from tests.docker import docker
from tests.k8s.manifests import Object, containers, labels, pod, workloads
from tests.servers import free_port

SECONDS = 400


@dataclass
class Pod:
    name: str
    workload: Object
    revision: str
    container: str = ""
    address: str = ""
    ready: bool = False
    log: list[str] = field(default_factory=list)


class Node:
    """Pods of one namespace on this machine's Docker. `root` is where volumes lie, `tag` the version of the images."""

    def __init__(self, name: str, root: Path, tag: str) -> None:
        self.name, self.root, self.tag = name, root, tag
        root.mkdir()
        self.objects: dict[tuple[str, str], Object] = {}
        self.secrets: dict[str, Object] = {}
        self.pods: list[Pod] = []
        self.count = 0
        docker("network", "create", name)
        subnet = docker("network", "inspect", name, "-f", "{{(index .IPAM.Config 0).Subnet}}")
        self.gateway = str(next(ipaddress.ip_network(subnet).hosts()))
        self._names = _Names(self.gateway, self._resolve)

    def say(self, line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)

    # --- Services ---------------------------------------------------------------------------------------------------

    def _resolve(self, name: str) -> list[str]:
        return [one.address for one in self._behind(name.split(".")[0])]

    def _behind(self, service: str) -> list[Pod]:
        """The ready pods of a Service."""
        found = self.objects.get(("Service", service))
        if found is None:
            return []
        wanted = found["spec"]["selector"].items()
        return [each for each in list(self.pods) if each.ready and wanted <= labels(each.workload).items()]

    def endpoints(self, service: str, port: int) -> list[str]:
        """Address and port of each ready pod, where a Service's port leads to."""
        found = self.objects.get(("Service", service), {"spec": {"ports": []}})
        target = next((p["targetPort"] for p in found["spec"]["ports"] if p["port"] == port), port)
        return sorted(
            f"{one.address}:{_number(pod(one.workload)['containers'][0], target)}" for one in self._behind(service)
        )

    # --- apply ------------------------------------------------------------------------------------------------------

    def apply(self, objects: list[Object]) -> None:
        """As `kubectl apply`: nothing is removed. Comes back at once; `settle` waits."""
        for each in objects:
            key = (each["kind"], each["metadata"]["name"])
            if each["kind"] == "Secret":
                self.secrets[key[1]] = each
            self.objects[key] = each
            if "spec" in each and "template" in each["spec"]:
                for container in containers(each):
                    container["image"] = container["image"].replace(":dev", f":{self.tag}")
        for workload in workloads(objects):
            threading.Thread(target=self._reconcile, args=(workload,), daemon=True).start()

    def settle(self, *names: str, seconds: float = SECONDS) -> None:
        """Wait until workloads (all, when none is named) have their pods, of their newest revision, and ready."""
        deadline = time.monotonic() + seconds
        while True:
            missing = [w["metadata"]["name"] for w in workloads(self.objects.values()) if not self._complete(w)]
            missing = [each for each in missing if not names or each in names]
            if not missing:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"not ready: {', '.join(missing)}\n" + "\n".join(map(self.tail, missing)))
            time.sleep(0.2)

    def of(self, workload: str) -> list[Pod]:
        return [each for each in list(self.pods) if each.workload["metadata"]["name"] == workload]

    def tail(self, workload: str) -> str:
        lines = [line for each in self.of(workload) for line in each.log]
        lines += [
            docker("logs", "--tail", "15", each.container, check=False) for each in self.of(workload) if each.container
        ]
        return f"--- {workload}\n" + "\n".join(lines[-30:])

    def delete(self, workload: str) -> None:
        """As `kubectl delete pod`: its pods go, in their own time, and others come."""
        for each in self.of(workload):
            self.stop(each)
        found = next(w for w in workloads(self.objects.values()) if w["metadata"]["name"] == workload)
        threading.Thread(target=self._reconcile, args=(found,), daemon=True).start()

    def _current(self, workload: Object) -> Object:
        return self.objects[workload["kind"], workload["metadata"]["name"]]

    def _complete(self, workload: Object) -> bool:
        mine, revision = self.of(workload["metadata"]["name"]), _revision(workload)
        fresh = [each for each in mine if each.revision == revision and each.ready]
        wanted: int = workload["spec"].get("replicas", 1)
        return len(mine) == len(fresh) == wanted

    def _reconcile(self, workload: Object) -> None:
        """Until the workload is complete, or another has taken its place."""
        recreate = workload["kind"] == "StatefulSet" or workload["spec"].get("strategy", {}).get("type") == "Recreate"
        revision = _revision(workload)
        while self._current(workload) is workload and not self._complete(workload):
            mine = self.of(workload["metadata"]["name"])
            fresh = [each for each in mine if each.revision == revision]
            stale = [each for each in mine if each.revision != revision]
            wanted = workload["spec"].get("replicas", 1)
            if stale and (recreate or len([each for each in fresh if each.ready]) >= min(wanted, 1)):
                self.stop(stale[0])
            elif len(fresh) > wanted:
                self.stop(fresh[-1])
            elif len(fresh) < wanted:
                self._start(workload, revision)
            time.sleep(0.1)

    # --- a pod ------------------------------------------------------------------------------------------------------

    def _start(self, workload: Object, revision: str) -> None:
        self.count += 1
        one = Pod(f"{workload['metadata']['name']}-{revision}-{self.count}", workload, revision)
        self.pods.append(one)
        spec = pod(workload)
        for init in spec.get("initContainers", []):
            while True:
                out = docker("run", "--rm", *self._options(one, init), check=False)
                one.log.append(f"{init['name']}: {out}")
                if self._succeeded(out):
                    break
                if self._current(workload) is not workload:
                    self.pods.remove(one)
                    return
                time.sleep(1)
        one.container = docker(
            "run", "--detach", "--name", f"{self.name}-{one.name}", *self._options(one, spec["containers"][0])
        )
        one.address = self._address(one)
        self.say(f"{one.name} started")
        threading.Thread(target=self._probe, args=(one,), daemon=True).start()
        deadline = time.monotonic() + SECONDS
        while not one.ready and self._current(workload) is workload and time.monotonic() < deadline:
            time.sleep(0.1)
        self.say(f"{one.name} {'ready' if one.ready else 'NOT ready'}")

    def _address(self, one: Pod) -> str:
        return docker(
            "inspect", "-f", f'{{{{(index .NetworkSettings.Networks "{self.name}").IPAddress}}}}', one.container,
            check=False,
        )  # fmt: skip

    @staticmethod
    def _succeeded(out: str) -> bool:
        return "exit-code-0" in out

    def _options(self, one: Pod, container: Object) -> list[str]:
        spec = pod(one.workload)
        account = spec["securityContext"]
        secure = container["securityContext"]
        words = [
            f"--hostname={one.name}",
            f"--label=forum.node={self.name}",
            f"--network={self.name}",
            f"--dns={self.gateway}",
            "--dns-search=.",
            f"--user={account['runAsUser']}:{account['runAsGroup']}",
        ]
        if "fsGroup" in account:
            words.append(f"--group-add={account['fsGroup']}")
        words += [f"--cap-drop={name}" for name in secure["capabilities"]["drop"]]
        words.append("--no-healthcheck")
        if secure["readOnlyRootFilesystem"]:
            words.append("--read-only")
        if not secure["allowPrivilegeEscalation"]:
            words.append("--security-opt=no-new-privileges")
        words.append(f"--memory={_bytes(container['resources']['limits']['memory'])}")
        for mount in container.get("volumeMounts", []):
            volume = next((v for v in spec.get("volumes", []) if v["name"] == mount["name"]), None)
            words.append(self._volume(one, mount, volume))
        environment: dict[str, str] = {}
        for source in container.get("envFrom", []):
            environment |= self.objects["ConfigMap", source["configMapRef"]["name"]]["data"]
        for entry in container.get("env", []):
            environment[entry["name"]] = entry["value"]
        words += [f"--env={key}={value}" for key, value in environment.items()]

        def expand(word: str) -> str:
            return re.sub(r"\$\((\w+)\)", lambda m: environment.get(m[1], m[0]), word)

        command = [expand(word) for word in container.get("command", [])]
        arguments = [expand(word) for word in container.get("args", [])]
        is_init = container in spec.get("initContainers", [])
        if is_init:  # so that its end can be told from its output
            inner = command + arguments
            assert inner, "an init container without a command"
            script = '"$@"; code=$?; echo exit-code-$code; exit $code'
            return [*words, "--entrypoint=sh", container["image"], "-c", script, "sh", *inner]
        if command:
            words.append(f"--entrypoint={command[0]}")
        return [*words, container["image"], *command[1:], *arguments]

    def _volume(self, one: Pod, mount: Object, volume: Object | None) -> str:
        read_only = ",readonly" if mount.get("readOnly") else ""
        if volume is None:  # a volumeClaimTemplate: stays when the pod goes
            folder = self.root / "claims" / f"{mount['name']}-{one.workload['metadata']['name']}"
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # as provisioners of hostPath volumes do
            return f"--mount=type=bind,source={folder},target={mount['mountPath']}"
        if "emptyDir" in volume:
            return f"--tmpfs={mount['mountPath']}:rw,mode=1777,size={_bytes(volume['emptyDir']['sizeLimit'])}"
        folder = self.root / "mounts" / one.name / volume["name"]
        folder.mkdir(parents=True, exist_ok=True)
        group = pod(one.workload)["securityContext"].get("fsGroup", 0)
        for path, content, mode in self._files(volume):
            (folder / path).write_bytes(content)
            (folder / path).chmod(mode)
            os.chown(folder / path, 0, group)
        return f"--mount=type=bind,source={folder},target={mount['mountPath']}{read_only}"

    def _files(self, volume: Object) -> list[tuple[str, bytes, int]]:
        if "configMap" in volume:
            data = self.objects["ConfigMap", volume["configMap"]["name"]]["data"]
            mode = volume["configMap"].get("defaultMode", 0o644)
            return [(key, value.encode(), mode) for key, value in data.items()]
        sources = (
            volume["projected"]["sources"]
            if "projected" in volume
            else [{"secret": volume["secret"] | {"name": volume["secret"]["secretName"]}}]
        )
        mode = volume["projected" if "projected" in volume else "secret"]["defaultMode"]
        return [
            (item["path"], base64.b64decode(self.secrets[source["secret"]["name"]]["data"][item["key"]]), mode)
            for source in sources
            for item in source["secret"]["items"]
        ]

    # --- probes -----------------------------------------------------------------------------------------------------

    def _probe(self, one: Pod) -> None:
        container = pod(one.workload)["containers"][0]
        startup, readiness = container.get("startupProbe"), container.get("readinessProbe")
        while startup and one in self.pods and not self._asks(one, container, startup):
            time.sleep(0.3)
        if readiness:
            time.sleep(readiness.get("initialDelaySeconds", 0))
        while one in self.pods:
            ready = readiness is not None and self._asks(one, container, readiness)
            if not ready and not self._alive(one):  # asked only then: it costs more than a probe
                self.say(
                    f"{one.name} ended and is started again:\n"
                    + docker("logs", "--tail", "5", one.container, check=False)
                )
                one.ready = False
                docker("start", one.container, check=False)
                one.address = self._address(one)
                continue
            one.ready = ready or readiness is None
            time.sleep((readiness or {}).get("periodSeconds", 3))

    def _alive(self, one: Pod) -> bool:
        return docker("inspect", "-f", "{{.State.Running}}", one.container, check=False) == "true"

    def _asks(self, one: Pod, container: Object, probe: Object) -> bool:
        try:
            if "httpGet" in probe:
                url = f"http://{one.address}:{_number(container, probe['httpGet']['port'])}{probe['httpGet']['path']}"
                with urllib.request.urlopen(url, timeout=probe.get("timeoutSeconds", 1)) as answer:
                    return bool(answer.status < 400)
            if "tcpSocket" in probe:
                socket.create_connection((one.address, _number(container, probe["tcpSocket"]["port"])), 1).close()
                return True
            command = ["docker", "exec", one.container, *probe["exec"]["command"]]
            done = subprocess.run(command, capture_output=True, timeout=probe.get("timeoutSeconds", 1), check=False)
            return done.returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False

    # --- the end ----------------------------------------------------------------------------------------------------

    def stop(self, one: Pod) -> None:
        """As when a pod is deleted: out of its Services, preStop, SIGTERM, and after the grace SIGKILL."""
        began = time.monotonic()
        one.ready = False
        if one in self.pods:
            self.pods.remove(one)
        spec = pod(one.workload)
        hook = spec["containers"][0].get("lifecycle", {}).get("preStop", {})
        if "sleep" in hook:
            time.sleep(hook["sleep"]["seconds"])
        if "exec" in hook:
            docker("exec", one.container, *hook["exec"]["command"], check=False)
        left = max(1, int(spec["terminationGracePeriodSeconds"] - (time.monotonic() - began)))
        signal = docker("inspect", "-f", "{{.Config.StopSignal}}", one.container, check=False) or "SIGTERM"
        docker("kill", "-s", signal, one.container, check=False)
        deadline = time.monotonic() + left
        while self._alive(one):
            if time.monotonic() > deadline:
                self.say(f"{one.name} had to be killed")
                docker("kill", one.container, check=False)
            time.sleep(0.2)
        code = docker("inspect", "-f", "{{.State.ExitCode}}", one.container, check=False)
        self.say(f"{one.name} ended with {code} after {time.monotonic() - began:.1f} s")
        docker("rm", "-f", one.container, check=False)

    def close(self) -> None:
        for key, each in list(self.objects.items()):
            if each in workloads([each]):
                del self.objects[key]
        self.pods = []
        for _ in range(2):  # one may just have been started
            if mine := docker("ps", "-aq", "--filter", f"label=forum.node={self.name}").split():
                docker("rm", "-f", "-v", *mine, check=False)
        docker("network", "rm", self.name, check=False)
        self._names.close()


def _number(container: Object, port: str | int) -> int:
    """A port by its number or name."""
    return next((p["containerPort"] for p in container.get("ports", []) if p["name"] == port), port)  # type: ignore[return-value]


def _revision(workload: Object) -> str:
    return hashlib.sha256(json.dumps(workload["spec"]["template"], sort_keys=True).encode()).hexdigest()[:6]


def _bytes(quantity: str) -> str:
    return quantity.replace("Mi", "m").replace("Gi", "g")


class Gateway:
    """Traefik, following the HTTPRoutes and the ready pods behind their Services, at `url`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._folder = node.root / "gateway"
        self._folder.mkdir()
        self._over = threading.Event()
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._tell()
        self._process = subprocess.Popen(
            [str(program()), f"--entryPoints.public.address=127.0.0.1:{port}", "--log.level=ERROR",
             f"--providers.file.directory={self._folder}", "--providers.file.watch=true"],
        )  # fmt: skip
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        while not self._over.wait(0.2):
            self._tell()

    def _tell(self) -> None:
        file = self._folder / "routes.yaml"
        text = yaml.safe_dump({"http": self._routes()})
        if not file.exists() or file.read_text() != text:
            new = self._node.root / "routes.new"
            new.write_text(text)
            new.replace(file)

    def _routes(self) -> Object:
        found: Object = {
            "routers": {}, "services": {},
            "middlewares": {"public": {"headers": {"customRequestHeaders": {"Strangler-Forwarded": ""}}}},
        }  # fmt: skip
        for route in [each for each in list(self._node.objects.values()) if each["kind"] == "HTTPRoute"]:
            name = route["metadata"]["name"]
            (rule,) = route["spec"]["rules"]
            (backend,) = rule["backendRefs"]
            paths = " || ".join(f"PathPrefix(`{match['path']['value']}`)" for match in rule["matches"])
            servers = self._node.endpoints(backend["name"], backend["port"])
            found["routers"][name] = {"rule": paths, "service": name, "middlewares": ["public"]}
            found["services"][name] = {"loadBalancer": {"servers": [{"url": f"http://{each}"} for each in servers]}}
        return found

    def close(self) -> None:
        self._over.set()
        self._thread.join(10)
        self._process.terminate()
        self._process.wait(30)


class _Names:
    """A DNS server that knows the Services: A records of their ready pods, never to be cached."""

    def __init__(self, address: str, resolve: Callable[[str], list[str]]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, 53))
        self._resolve = resolve
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                query, peer = self._socket.recvfrom(2048)
                self._socket.sendto(self._answer(query), peer)
            except OSError:
                return

    def _answer(self, query: bytes) -> bytes:
        at, parts = 12, []
        while size := query[at]:
            parts.append(query[at + 1 : at + 1 + size].decode())
            at += size + 1
        question, kind = query[12 : at + 5], struct.unpack("!H", query[at + 1 : at + 3])[0]
        found: list[Any] = self._resolve(".".join(parts))
        records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(ip) for ip in found if kind == 1]
        flags = 0x8580 if found else 0x8583  # NXDOMAIN
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)
