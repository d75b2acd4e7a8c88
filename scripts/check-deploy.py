"""Reads what deploy/ has for Compose, Prometheus, Grafana and the autoscaler, and asks whether it fits together."""

import json
import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
problems = []


def expect(holds, what):
    if not holds:
        problems.append(what)


def documented_metrics():
    page = (ROOT / "docs/metrics.md").read_text()
    names = set(re.findall(r"`([a-z]+_[a-z_]+)(?:\{[^`]*\})?`", page))
    return names | {name.replace("websocket_", "sse_", 1) for name in names}


def metrics_in(expression):
    names = re.findall(r"\b[a-z]+(?:_[a-z]+)+\b(?!\s*\()", re.sub(r"\b(by|without)\s*\([^)]*\)|\{[^}]*\}|\[[^\]]*\]", "", expression))
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def check_metrics(known):
    dashboard = json.loads((DEPLOY / "compose/grafana/dashboards/tidings.json").read_text())
    expect(len(dashboard["panels"]) >= 8, "the dashboard has fewer than eight panels")
    used = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    for group in yaml.safe_load((DEPLOY / "compose/prometheus/rules.yml").read_text())["groups"]:
        used += [(rule["alert"], rule["expr"]) for rule in group["rules"]]
    scaler = yaml.safe_load((DEPLOY / "kubernetes/autoscaling.yaml").read_text())
    used += [("autoscaling.yaml", metric["pods"]["metric"]["name"]) for metric in scaler["spec"]["metrics"]]
    for where, expression in used:
        for name in metrics_in(expression):
            expect(name in known, f"{where}: docs/metrics.md has no {name}")


def check_compose():
    folder = DEPLOY / "compose"
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    services = compose["services"]
    expect({"tidings", "postgres", "redis", "nginx", "prometheus", "grafana"} <= services.keys(), "a service is missing")
    expect(services["tidings"]["stop_grace_period"] == "45s", "tidings is killed before it has drained")
    for name, service in services.items():
        for port in service.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"{name} publishes {port} beyond loopback")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (folder / source).exists() if source.startswith(".") else source in compose["volumes"]
            expect(there, f"{name}: there is no {source}")
        for secret in service.get("secrets", []):
            expect(secret in compose["secrets"], f"{name}: there is no secret {secret}")
        others = service.get("depends_on", [])
        for other in others:
            expect(other in services, f"{name} depends on {other}")
            if isinstance(others, dict) and others[other]["condition"] == "service_healthy":
                expect("healthcheck" in services[other], f"{name} waits for the health of {other}, which has no check")
    made = (folder / "secrets.sh").read_text()
    for name in compose["secrets"]:
        expect(re.search(rf"^make {name} ", made, re.M), f"secrets.sh does not make {name}")


def check_kubernetes():
    deployments = [
        document
        for file in (DEPLOY / "kubernetes").glob("*.yaml")
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == "Deployment"
    ]
    limits = {"tidings": "2Gi", "tidings-webhooks": "512Mi"}
    expect({d["metadata"]["name"] for d in deployments} == limits.keys(), "the deployments are others")
    for deployment in deployments:
        name, spec = deployment["metadata"]["name"], deployment["spec"]
        pod = spec["template"]["spec"]
        container = pod["containers"][0]
        expect(spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, f"{name}: one goes before one comes")
        expect(pod["terminationGracePeriodSeconds"] == 45, f"{name}: its grace is not 45 s")
        expect(pod["enableServiceLinks"] is False, f"{name}: service links are on")
        expect(container["resources"]["limits"]["memory"] == limits[name], f"{name}: its memory")
        expect(container["securityContext"]["readOnlyRootFilesystem"], f"{name}: its root can be written")
        for volume in container["volumeMounts"]:
            expect(volume["name"] in {v["name"] for v in pod["volumes"]}, f"{name}: there is no {volume['name']}")


check_metrics(documented_metrics())
check_compose()
check_kubernetes()
for problem in problems:
    print(f"deploy: {problem}", file=sys.stderr)
sys.exit(bool(problems))
