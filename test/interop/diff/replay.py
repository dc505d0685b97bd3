"""A scene's steps once more, and the fewest of them that still show its first difference."""
import json
import pathlib
import time


def steps_again(tester, steps, former, number):
    """Sends the steps under a name of their own. Answers the signs of the differences that they showed, in their order."""
    name = f"r{number:03d}"
    text = json.dumps(steps).replace(f"s{former}-", f"s{name}-")
    world = tester.enter(name)
    tester.found = {}
    sent = set()
    for step in json.loads(text):
        do, conn = step["do"], step.get("conn")
        if do in ("ask", "step"):
            more = dict(client=step["client"], change=step["change"], conn=conn)
            if do == "step":
                tester.step(world, step["api"], step["version"], step["body"], **more)
            else:
                tester.ask(step["api"], step["version"], step["body"], **more)
        elif do == "send":
            tester.send(step["api"], step["version"], step["body"], step["client"], step["change"], conn)
            sent.add(conn)
        elif do == "collect":
            there = {c: tuple(what) for c, what in step["sent"].items() if c in sent}
            tester.collect(there)
            sent -= set(there)
        elif do == "drop":
            tester.drop(conn)
        elif do == "until":
            tester.until_group(step["group"], step["states"], step["seconds"], step.get("members", 0))
        elif do == "sleep":
            time.sleep(step["seconds"])
    found = list(tester.found)
    tester.finish(world)
    return found


def shrink(tester, steps, former, sign):
    """Leaves out ever smaller parts, as long as the difference stays."""
    tries, size = 1, max(1, len(steps) // 2)
    while True:
        at, shorter = 0, False
        while at < len(steps):
            rest = steps[:at] + steps[at + size:]
            tries += 1
            if rest and sign in steps_again(tester, rest, former, tries % 1000):
                steps, shorter = rest, True
            else:
                at += size
        if size == 1 and not shorter:
            return steps
        size = max(1, size // 2)


def run(tester, path, wants_fewest):
    kept = json.loads(pathlib.Path(path).read_text())
    found = steps_again(tester, kept["steps"], kept["scene"], 1)
    print(f"{len(kept['steps'])} steps, differences of {len(found)} kinds")
    if not found or not wants_fewest:
        return
    steps = shrink(tester, kept["steps"], kept["scene"], found[0])
    out = pathlib.Path(path).with_suffix(".min.json")
    out.write_text(json.dumps(dict(scene=kept["scene"], steps=steps), indent=0))
    print(f"\n{len(steps)} steps are enough for {found[0]}, in {out}:")
    for step in steps:
        print("  " + json.dumps(step)[:600])
