"""What the tester has not met: of all (API, version, error) that one node can answer (plausible.txt)."""
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


def expected(served):
    """(API, version, code) of each answer that a run should see."""
    out = {(api, version, 0) for api, (low, high) in served.items() for version in range(low, high + 1)
           if api not in ("SaslHandshake", "SaslAuthenticate", "UnregisterBroker", "UnregisterController")}  # these only refuse here
    for number, line in enumerate((HERE / "plausible.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("|")]
        assert len(parts) == 3, f"plausible.txt:{number}: API | versions | codes"
        first, last = map(int, parts[1].split("-"))
        if parts[0] not in served:
            continue
        low, high = served[parts[0]]
        out |= {(parts[0], version, int(code)) for version in range(max(first, low), min(last, high) + 1) for code in parts[2].split()}
    return out


def report(coverage, served, path):
    wanted = expected(served)
    missed = sorted(wanted - set(coverage))
    path.write_text("".join(f"{api} {version}: {code}\n" for api, version, code in missed))
    whole = {}  # not met in any version
    for api, version, code in missed:
        whole.setdefault((api, code), []).append(version)
    never = [f"{api} {code}" for (api, code), versions in whole.items() if not any((api, v, code) in coverage for v in range(40))]
    print(f"of {len(wanted)} (API, version, error) that one node can answer, {len(wanted) - len(missed)} were met; "
          f"in no version: {', '.join(never) or 'none'}; the others not met are in {path.name}")
