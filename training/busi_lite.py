"""Make the bundled model, from the data folder to the released files.

    python training/busi_lite.py BUSI256 BUSI_NATIVE WORK bcdseg/model/weights/busi-lite

The script trains one network per fold and measures each on its test part. It then trains the released network on everything but the
sample scans, and writes its folder with a card from the reports. A stopped run resumes. It needs the extras ``train`` and
``imagenet-lite``, and Python 3.11.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from calibration import calibrated, results_on_test_parts
from card import card_content
from cross_validate import cross_validate
from out_of_fold import REPORT, REPORT_NATIVE, measure, networks
from recipe import train
from scans import Scans, open_scans

import bcdseg
from bcdseg import Dataset, Model
from bcdseg.evaluation.training_overlap import remember_scans
from bcdseg.inference.out_of_distribution import describe_training_images

NAME, ENCODER, WEIGHTS = "busi-lite", "tu-tf_efficientnet_lite0", "imagenet"


def release(scans: Scans, native: Dataset, work: Path) -> Model:
    """Train the released network, and add its rules and its card."""
    parts = scans.release()
    trained = train(ENCODER, WEIGHTS, parts, work / "release", seed=0)
    model = calibrated(trained, list(results_on_test_parts(scans, networks(work)).values()))
    card = card_content(scans, work / REPORT / "report.json", work / REPORT_NATIVE / "report.json")
    card |= {"name": NAME, "seen": remember_scans(*parts)}
    ids = {sample.id for part in parts for sample in part}
    images = describe_training_images(native.select([sample.id for sample in native if sample.id in ids]))
    return Model(model.network, model.preprocessing, replace(model.rules, training_images=images), training=card, name=NAME)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="busi256, every scan at 256x256")
    parser.add_argument("native", type=Path, help="the same scans at their own size")
    parser.add_argument("work", type=Path, help="folder of the runs")
    parser.add_argument("out", type=Path, help="the model's folder")
    options = parser.parse_args()
    scans, native, work = open_scans(options.data), bcdseg.open_dataset(options.native), options.work / ENCODER
    cross_validate(scans, ENCODER, WEIGHTS, work)
    measure(scans, work, work / REPORT)
    measure(scans, work, work / REPORT_NATIVE, drawn_from=native)
    release(scans, native, work).save(options.out, half=True, overwrite=True)
    print(bcdseg.load(options.out).card)


if __name__ == "__main__":
    main()
