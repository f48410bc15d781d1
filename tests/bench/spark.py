"""ALS on Spark beside `implicit`, ML-1M fold 0 of Anelli et al.: `make bench-spark` (with Java 17).

Both with the settings that quality_movielens finds; Spark's is stored, loaded as `als` by code that knows
nothing of Spark, and judged as loaded.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from threadpoolctl import threadpool_limits

from models.artefact import Manifest, load, save
from models.errors import ModelError
from models.spark import SparkALS, spark_session
from models.zoo.factors import ALS
from tests.bench.quality_data import DATA, anelli_folds
from tests.bench.quality_movielens import interactions, quality
from tests.bench.report import goal, machine

SETTINGS: Final[dict[str, Any]] = {
    "factors": 64,
    "alpha": 8,
    "regularization": 60,
    "half_life_days": None,
}


def main() -> None:
    """Run it."""
    if not DATA.exists():
        print(f"skipped: {DATA} is not here; it holds the benchmark data")
        sys.exit(0)
    try:
        session = spark_session()
    except ModelError as error:
        print(f"skipped: {error}")
        sys.exit(0)
    print(machine("numpy", "implicit", "pandas"), f"; pyspark {session.version}")
    train, test = anelli_folds()[0]
    known = interactions(train)
    with threadpool_limits(1, "blas"):
        started = time.perf_counter()
        ours = ALS(**SETTINGS).fit(known, 1)
        implicit_s = time.perf_counter() - started
        started = time.perf_counter()
        theirs = SparkALS(**SETTINGS, session=session).fit(known, 1)
        spark_s = time.perf_counter() - started
        session.stop()
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "v1"
            manifest = Manifest(
                version="v1", champion="als", trained_ms=1, window_ms=(0, 0),
                interactions=len(known), people=len(known.users), items=len(known.items),
                data_hash="", parameters={},
            )  # fmt: skip
            save(folder, manifest, [str(item) for item in known.items], {"als": theirs})
            served = load(folder).models["als"]
            found = [float(quality(model, known, test).mean()) for model in (ours, served)]
    print(f"ML-1M fold 0, {dict(ours.parameters())}")
    print(f"  implicit            nDCG@10 {found[0]:.4f}, fitted in {implicit_s:.0f} s")
    print(f"  Spark, as is served nDCG@10 {found[1]:.4f}, fitted in {spark_s:.0f} s "
          f"({spark_s / implicit_s:.0f} times as long)")  # fmt: skip
    print(goal("stored by Spark, loaded as implicit's class", float(type(served) is ALS), "==", 1))
    print(goal("Spark's distance from implicit", abs(found[0] - found[1]), "<=", 0.005))


if __name__ == "__main__":
    main()
