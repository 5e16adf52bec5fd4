"""Run the named benchmarks, or all of them: python -m benchmarks features"""

from __future__ import annotations

import sys

from benchmarks import collection, compare, days, features, gate, imdb, serving, shipping, trees, tuning

ALL = {
    "features": features.main,
    "scale": features.scale,
    "compare": compare.main,
    "collection": collection.main,
    "days": days.main,
    "imdb": imdb.main,
    "tuning": tuning.main,
    "trees": trees.main,
    "gate": gate.main,
    "shipping": shipping.main,
    "serving": serving.main,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        if name not in ALL:
            sys.exit(f"there is no benchmark {name!r}: one of {', '.join(ALL)}")
        print(f"\n## {name}\n")
        ALL[name]()
