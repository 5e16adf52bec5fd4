"""Read IMDb files of the full size, 12 million titles and 1.6 million ratings, made up: time, memory."""

from __future__ import annotations

import gzip
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from settings import PROJECT
from tasks.data.imdb import BASICS, RATINGS, read_movies
from tasks.foundation.clock import now

TITLES, MOVIES, RATED = 12_000_000, 720_000, 1_600_000


def main() -> None:
    """Print what was measured; the reading runs in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        generate(Path(folder))
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
        print(f"{TITLES:,} synthetic titles, {size:.0f} MB packed, made in {time.monotonic() - start:.0f} s")
        command = [sys.executable, "-m", "benchmarks.imdb", folder]
        subprocess.run(command, cwd=PROJECT, check=True)


def generate(folder: Path) -> None:
    """Write two files with IMDb's columns and about its mix of title types, of lengths like its own."""
    rng = random.Random(0)
    kinds = ["movie"] * (MOVIES // 1000) + ["tvEpisode"] * 9_000 + ["short"] * 1_200 + ["tvSeries"] * 1_080
    words = ["".join(rng.choices("abcdefghijklmnoprstuvw", k=rng.randint(2, 9))).title() for _ in range(5_000)]
    with gzip.open(folder / BASICS, "wt", compresslevel=1) as file:
        head = "tconst titleType primaryTitle originalTitle isAdult startYear endYear runtimeMinutes genres"
        file.write(head.replace(" ", "\t") + "\n")
        for first in range(0, TITLES, 10_000):
            lines = []
            for n in range(first, first + 10_000):
                title = f"{words[n % 4999]} {words[n % 4987]} {words[n % 13]}"
                year = 1900 + n % 127 if n % 10 else "\\N"
                kind = kinds[n * 7919 % len(kinds)]
                lines.append(
                    f"tt{n:07d}\t{kind}\t{title}\t{title}\t0\t{year}\t\\N\t{n % 180 or chr(92) + 'N'}\tDrama,Comedy\n"
                )
            file.write("".join(lines))
    with gzip.open(folder / RATINGS, "wt", compresslevel=1) as file:
        file.write("tconst\taverageRating\tnumVotes\n")
        step = TITLES // RATED
        file.writelines(f"tt{n * step:07d}\t{n % 91 / 10 + 1:.1f}\t{n % 5000 + 5}\n" for n in range(RATED))


if __name__ == "__main__":
    start = time.monotonic()
    table, refused = read_movies(Path(sys.argv[1]), now())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = time.monotonic() - start
    print(f"{len(table):,} movies read in {took:.0f} s with {peak:.2f} GiB at the most, {len(refused)} lines refused")
