"""ALS on Spark: the artefact that serving knows. Skipped without pyspark; `make bench-spark` measures it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.artefact import Manifest, load, save
from models.errors import ModelError
from models.spark import SparkALS, spark_session
from models.zoo.factors import ALS
from profiles.facts import Kind
from tests.models.shops import DOG, NOW, TEA, history_of, shop


def test_without_pyspark_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pyspark", "pyspark.sql"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ModelError, match=r"needs pyspark and Java 17: pip install 'onefold\[spark\]'"
    ):
        spark_session()


def test_the_artefact_of_spark_is_that_of_als(tmp_path: Path) -> None:
    pytest.importorskip("pyspark", reason="pyspark is not installed: pip install 'onefold[spark]'")
    data = shop()
    model = SparkALS(factors=8, regularization=1, iterations=8).fit(data, NOW)
    about: dict[str, Any] = {"people": 60, "interactions": len(data), "items": len(data.items)}
    manifest = Manifest(version="v1", champion="als", trained_ms=NOW, window_ms=data.window,
                        data_hash="", parameters={}, **about)  # fmt: skip
    save(tmp_path / "v1", manifest, [str(item) for item in data.items], {"als": model})

    served = load(tmp_path / "v1").models["als"]

    assert type(served) is ALS
    scores = served.scores(history_of(data, ("tea", Kind.BOUGHT)))
    assert scores is not None
    assert np.isfinite(scores).all()
    code = data.item_code
    assert min(scores[code[i]] for i in TEA[1:]) > max(scores[code[i]] for i in DOG)
