"""Who may look at whom: a room imports lower numbers only, and few rooms may import the heavy frameworks."""

import ast
from pathlib import Path

import mode_opt

PACKAGE = Path(mode_opt.__file__).parent
LEVEL = {
    **{"errors": -1, "events": 0, "units": 0},
    **{"design": 1, "data": 1, "campaigns": 1},
    **{"simulation": 2, "reconstruction": 2, "objectives": 2, "geometry": 2},
    **{"surrogates": 3, "inference": 3},
    "gradients": 4,
    "experiment": 5,
    **{"search": 6, "training": 6},
    "report": 7,
    "cli": 8,
}
ONLY = {
    **{"hydra": {"cli"}, "lightning": {"training"}, "uproot": {"data"}, "awkward": {"data"}},
    **{"botorch": {"search"}, "gpytorch": {"search"}, "cma": {"search"}},
}


def imports():
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        room = relative.parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                yield relative, room, name


def test_every_room_has_a_level():
    rooms = {room for _, room, _ in imports()}
    assert rooms <= set(LEVEL), f"rooms without a level: {rooms - set(LEVEL)}"


def test_rooms_import_lower_rooms_only():
    wrong = []
    for path, room, name in imports():
        parts = name.split(".")
        if parts[0] == "mode_opt" and len(parts) > 1 and parts[1] != room and LEVEL[parts[1]] >= LEVEL[room]:
            wrong.append(f"{path} ({room}) imports {name}")
    assert not wrong, "\n".join(wrong)


def test_frameworks_stay_in_their_rooms():
    wrong = [
        f"{path} imports {name}" for path, room, name in imports() if room not in ONLY.get(name.split(".")[0], {room})
    ]
    assert not wrong, "\n".join(wrong)


def test_the_report_knows_errors_and_design_only():
    known = {name for _, room, name in imports() if room == "report" and name.startswith("mode_opt")}
    rooms = {name.split(".")[1] for name in known}
    assert rooms <= {"report", "errors", "design"}, rooms
