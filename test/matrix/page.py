"""docs/clients.md, made of results.json and of nothing else. `python3 -B test/matrix/page.py` makes it anew."""
import json
import pathlib

import titles
from clients import CLIENTS

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PAGE = HERE.parents[1] / "docs" / "clients.md"
APACHE = "apache-kafka-4.4.0"

HEAD = """# Clients

What client libraries do with Moldau, one cell for each library and capability, as `./dev matrix --record` found it with one
node of `moldau dev`. The page is made of what the runs have stored (`test/matrix` has the drivers and says what each cell
asks); nobody edits it.

| cell | means |
| --- | --- |
| yes | done by the library, and found so on the node by librdkafka and by plain requests |
| **no** | failed; the reason is below, and whether the same cell fails with Apache Kafka 4.4.0 too |
| n/a | the library has no such call; its reason is below |
| not run | no run of it is stored |
"""


def load():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else {"versions": {}, "brokers": {}}


def record(run):
    """Keeps a run's cells in results.json; cells that it did not run stay as they are."""
    kept = load()
    if run["broker"] == "moldau":
        kept["versions"].update(run["versions"])
    rows = kept["brokers"].setdefault(run["broker"], {})
    for id, row in run["results"].items():
        if not all(cell["state"] == "not run" for cell in row.values()):
            rows.setdefault(id, {}).update(row)
    RESULTS.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(render(kept))


def table(kept, columns):
    rows, moldau = [], kept["brokers"].get("moldau", {})
    words = {"passed": "yes", "failed": "**no**", "lacks": "n/a", "not run": "not run"}
    rows.append("| client | version | " + " | ".join(titles.TITLES[name] for name in columns) + " |")
    rows.append("| --- | --- |" + " --- |" * len(columns))
    for client in CLIENTS:
        cells = moldau.get(client.id, {})
        found = [words[cells.get(name, {"state": "not run"})["state"]] for name in columns]
        rows.append(f"| {client.name} | {kept['versions'].get(client.id, '?')} | " + " | ".join(found) + " |")
    return "\n".join(rows)


def is_its_own(id, name):
    """Does the cell fail with Apache Kafka too, as the stored results have it?"""
    return load()["brokers"].get(APACHE, {}).get(id, {}).get(name, {}).get("state") == "failed"


def elsewhere(kept, id, name):
    """What a failed cell does with Apache Kafka."""
    cell = kept["brokers"].get(APACHE, {}).get(id, {}).get(name)
    if cell is None or cell["state"] == "not run":
        return "not run with Apache Kafka 4.4.0"
    ours = kept["brokers"]["moldau"][id][name]
    if cell["state"] == "failed" and cell["why"] == ours["why"]:
        return "fails with Apache Kafka 4.4.0 in the same way"
    return {"passed": "passes with Apache Kafka 4.4.0", "failed": f"fails with Apache Kafka 4.4.0 too: {cell.get('why')}", "lacks": "n/a with Apache Kafka 4.4.0"}[cell["state"]]


def reasons(kept, state):
    out = []
    for client in CLIENTS:
        for name in titles.TITLES:
            cell = kept["brokers"].get("moldau", {}).get(client.id, {}).get(name)
            if cell and cell["state"] == state:
                out.append(f"- {client.name}, {titles.TITLES[name]}: {cell['why']}" + (f" ({elsewhere(kept, client.id, name)})" if state == "failed" else ""))
    return "\n".join(out) or "None."


def second_tries(kept):
    cells = [(c, n, kept["brokers"].get("moldau", {}).get(c.id, {}).get(n, {})) for c in CLIENTS for n in titles.TITLES]
    return "\n".join(f"- {c.name}, {titles.TITLES[n]}: at the first: {cell['first']}" for c, n, cell in cells if cell.get("state") == "passed" and "first" in cell)


def render(kept):
    moldau = kept["brokers"].get("moldau", {})
    states = [moldau.get(client.id, {}).get(name, {"state": "not run"})["state"] for client in CLIENTS for name in titles.TITLES]
    sums = f"{len(states)} cells: {states.count('passed')} yes, {states.count('failed')} no, {states.count('lacks')} n/a, {states.count('not run')} not run."
    other = kept["brokers"].get(APACHE, {})
    theirs = [cell["state"] for row in other.values() for cell in row.values()]
    compared = f"The same drivers with a node of Apache Kafka 4.4.0: {theirs.count('passed')} yes, {theirs.count('failed')} no." if theirs else ""
    differ = [f"- {c.name}, {titles.TITLES[n]}: {other[c.id][n]['state']} there ({other[c.id][n].get('why', '')}), {moldau[c.id][n]['state']} here" for c in CLIENTS for n in titles.TITLES
              if n in other.get(c.id, {}) and n in moldau.get(c.id, {}) and other[c.id][n]["state"] != moldau[c.id][n]["state"]]
    return "\n".join([
        HEAD, sums + ("\n" + compared if compared else ""),
        "\n## Records and groups\n", table(kept, titles.DATA),
        "\n## Administration\n", table(kept, titles.ADMIN),
        "\n## Failed\n", reasons(kept, "failed"),
        *(["\n## Done at the second try\n", second_tries(kept)] if second_tries(kept) else []),
        "\n## Not offered by the client\n", reasons(kept, "lacks"),
        *(["\n## Otherwise with Apache Kafka 4.4.0\n", "\n".join(differ) or f"None of the {len(theirs)} cells that were run with both."] if theirs else []),
        ""])


if __name__ == "__main__":
    PAGE.write_text(render(load()))
