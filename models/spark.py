"""ALS on Spark (an extra), for interactions that do not fit into one machine's memory.

The artefact is that of `als`: item factors, and the settings with which a person is folded in. Nothing that
serves it needs Spark.
"""

from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import ModelError, NotEnoughData
from models.interactions import Interactions
from models.zoo.factors import ALS

SEED: Final = 42
CONFIDENCE_MIN: Final = 1e-3
"""Spark takes a rating of 0 for nothing seen; ours are confidence − 1, which decay may take to 0 and below."""


class SparkALS(ALS):
    """`als`, its factors learned by Spark MLlib (ALS with implicit preferences).

    Spark's confidence is 1 + alpha·rating and ours alpha·value: with alpha 1 and rating alpha·value − 1
    they are the same. Its λ is multiplied by how many ratings each person and item has, ours is not: λ is
    divided by how many the person of an average rating has, so that most ratings weigh as they would here.
    """

    def __init__(self, *settings: Any, session: Any = None, **named: Any) -> None:
        super().__init__(*settings, **named)
        self._session = session

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Learn item factors from everything before `now_ms`."""
        known = interactions.until(now_ms)
        if not len(known):
            raise NotEnoughData("als: no interactions to learn from")
        matrix = known.matrix(now_ms, self.half_life_days, self.looks).tocoo()
        self._learned(self._factors(matrix))
        return self

    def _factors(self, matrix: sp.coo_matrix) -> npt.NDArray[np.float32]:
        session = self._session or spark_session()
        from pyspark.ml.recommendation import ALS as MLlibALS  # noqa: N811

        frame = _frame(session, matrix, self.alpha)
        held = np.bincount(matrix.row)
        usual = float((held.astype(np.float64) ** 2).sum() / max(1, held.sum()))
        learner = MLlibALS(
            rank=self.factors, maxIter=self.iterations, regParam=self.regularization / usual,
            alpha=1.0, implicitPrefs=True, userCol="user", itemCol="item", ratingCol="rating",
            seed=SEED, checkpointInterval=-1,
        )  # fmt: skip
        learned = learner.fit(frame).itemFactors.toArrow()
        factors = np.zeros((matrix.shape[1], self.factors), np.float32)
        flat = learned["features"].combine_chunks().flatten().to_numpy()
        factors[learned["id"].to_numpy()] = flat.reshape(-1, self.factors)
        return factors


def spark_session() -> Any:
    """The running Spark session, or a local one; ModelError without pyspark or Java."""
    try:
        from pyspark.sql import SparkSession
    except ImportError:
        raise ModelError(
            "training on Spark needs pyspark and Java 17: pip install 'onefold[spark]'"
        ) from None
    try:
        return (
            SparkSession.builder.appName("onefold train")
            .config("spark.ui.enabled", "false")
            .getOrCreate()
        )
    except Exception as error:  # py4j has no class of its own for a missing Java
        raise ModelError(f"Spark does not start: {str(error).splitlines()[0][:200]}") from error


def _frame(session: Any, matrix: sp.coo_matrix, alpha: float) -> Any:
    """User, item, rating. Spark's ids are ints, which our codes are."""
    import pyarrow as pa

    ratings = np.maximum(matrix.data * alpha - 1, CONFIDENCE_MIN).astype(np.float32)
    columns = {"user": matrix.row.astype(np.int32), "item": matrix.col.astype(np.int32)}
    frame = session.createDataFrame(pa.table({**columns, "rating": ratings}))
    return frame.repartition(session.sparkContext.defaultParallelism)
