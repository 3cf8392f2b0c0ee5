"""Write the frozen folds of the public data sets, which come with the package.

python scripts/freeze_folds.py busi-v1 Dataset_BUSI_with_GT
python scripts/freeze_folds.py bus-bra-v1 BUSBRA
python scripts/freeze_folds.py bus-uclm-v1 BUS-UCLM --resized

``--resized`` leaves out the hashes of the pixels, for a copy whose pixels are not the released ones: its scans are then found by
their fingerprints. A file that exists is not replaced: folds that were released stay as they are, and others get another name.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import bcdseg
from bcdseg.data.duplicates.search import duplicate_groups
from bcdseg.data.hashing import content_hash, fingerprint
from bcdseg.data.layouts.listing import split_path
from bcdseg.data.public_sets import frozen_folds
from bcdseg.data.public_sets.frozen_folds import FORMAT
from bcdseg.files import write_whole

FOLDS, SEED = 5, 0


def main() -> None:
    """Write one file of folds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the folds, such as busi-v1")
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--resized", action="store_true", help="the pixels are not the released ones")
    options = parser.parse_args()
    path = Path(frozen_folds.__file__).with_name(f"{options.name}.json")
    write_whole(path, content(options.name, bcdseg.open_dataset(options.data), options.resized).encode())
    print(path)


def content(name: str, data: bcdseg.Dataset, resized: bool) -> str:
    """Return the content of a file of folds, with one line per scan."""
    copies = duplicate_groups(data)
    tests = [test for _, test in bcdseg.folds(data, FOLDS, seed=SEED, duplicates=copies)]
    fold_of = {sample.id: fold for fold, test in enumerate(tests) for sample in test}
    group_of = {sample.id: sample.group for test in tests for sample in test}
    groups = {group: number for number, group in enumerate(sorted({group for group in group_of.values() if group is not None}))}
    conflicts = [group for group in copies if len({data[one].label for one in group}) > 1]
    rows = [
        [
            split_path(sample.id)[1],
            fold_of[sample.id],
            groups.get(group_of[sample.id]),
            None if resized else content_hash(sample.image),
            fingerprint(sample.image),
        ]
        for sample in data
    ]
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    about = {
        "format": FORMAT,
        "version": 1,
        "name": name,
        "scans with": f"name, fold, group, hash, fingerprint; by scripts/freeze_folds.py, seed {SEED}, of {data!r}",
        "conflicts": [sorted(split_path(one)[1] for one in group) for group in conflicts],
    }
    head = json.dumps(about, ensure_ascii=False, indent=1).removesuffix("\n}")
    return head + ',\n "scans": [\n' + ",\n".join(lines) + "\n ]\n}\n"


if __name__ == "__main__":
    main()
