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
node of `moldau dev`, beside what the same drivers found with one node of Apache Kafka 4.4.0. The page is made of what the runs
have stored (`test/matrix` has the drivers and says what each cell asks); nobody edits it.

| cell | means |
| --- | --- |
| yes | done by the library, and found so on the node by librdkafka and by plain requests; the same with Apache Kafka |
| no, as there | failed, with Apache Kafka too: the library's own; the reasons are below |
| **differs** | done with one of the two and failed with the other; which and why is below |
| not yet | Moldau does not serve transactions yet: refused at once, with an error that ends the producer, and nothing is written |
| n/a | the library has no such call; its reason is below |
| yes, **no** and a question mark | so with Moldau, not run with Apache Kafka |
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


def state(kept, broker, id, name):
    return kept["brokers"].get(broker, {}).get(id, {}).get(name, {"state": "not run"})["state"]


def word(kept, id, name):
    """A cell of the table: what both brokers' runs have found."""
    ours, theirs = state(kept, "moldau", id, name), state(kept, APACHE, id, name)
    if ours in ("lacks", "not run", "refused"):
        return {"lacks": "n/a", "not run": "not run", "refused": "not yet" if theirs == "passed" else "not yet?"}[ours]
    if theirs == "not run":
        return {"passed": "yes?", "failed": "**no?**"}[ours]
    if ours != theirs:
        return "**differs**"
    return {"passed": "yes", "failed": "no, as there"}[ours]


def table(kept, columns):
    rows = ["| client | version | " + " | ".join(titles.TITLES[name] for name in columns) + " |", "| --- | --- |" + " --- |" * len(columns)]
    for client in CLIENTS:
        found = [word(kept, client.id, name) for name in columns]
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
        return "with Apache Kafka in the same words"
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
    out = []
    for broker, where in (("moldau", "Moldau"), (APACHE, "Apache Kafka")):
        for c in CLIENTS:
            for n in titles.TITLES:
                cell = kept["brokers"].get(broker, {}).get(c.id, {}).get(n, {})
                if cell.get("state") == "passed" and "first" in cell:
                    out.append(f"- {c.name}, {titles.TITLES[n]}, with {where}; the first time: {cell['first']}")
    return "\n".join(out)


def differences(kept):
    """Every cell that the two brokers' runs have found otherwise."""
    out = []
    for c in CLIENTS:
        for n in titles.TITLES:
            if word(kept, c.id, n) == "**differs**":
                ours, theirs = (kept["brokers"][broker][c.id][n] for broker in ("moldau", APACHE))
                out.append(f"- {c.name}, {titles.TITLES[n]}: {ours['state']} with Moldau ({ours.get('why', 'done')}), {theirs['state']} with Apache Kafka ({theirs.get('why', 'done')})")
    return "\n".join(out)


def render(kept):
    cells = [(client.id, name) for client in CLIENTS for name in titles.TITLES]

    def sums(broker):
        states = [state(kept, broker, *cell) for cell in cells]
        return f"{states.count('passed')} yes, {states.count('failed')} no, {states.count('refused')} not yet, {states.count('lacks')} n/a, {states.count('not run')} not run"
    both = sum("not run" not in (state(kept, "moldau", *cell), state(kept, APACHE, *cell)) for cell in cells)
    return "\n".join([
        HEAD, f"{len(cells)} cells with Moldau: {sums('moldau')}.", f"With Apache Kafka 4.4.0: {sums(APACHE)}.",
        "\n## Records\n", table(kept, titles.DATA),
        "\n## Groups\n", table(kept, titles.GROUPS),
        "\n## Administration\n", table(kept, titles.ADMIN),
        "\n## What differs\n", differences(kept) or f"None of the {both} cells that were run with both, but those that are refused so far.",
        "\n## Failed\n", reasons(kept, "failed"),
        *(["\n## Done at a later try\n", second_tries(kept)] if second_tries(kept) else []),
        "\n## Refused so far\n", reasons(kept, "refused"),
        "\n## Not offered by the client\n", reasons(kept, "lacks"),
        ""])


if __name__ == "__main__":
    PAGE.write_text(render(load()))
