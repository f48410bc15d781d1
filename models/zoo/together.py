"""Bought together: what shares orders with an item more often than chance, with enough orders to say so."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from models.errors import NotEnoughData
from models.interactions import Codes, Interactions, decay
from models.protocol import History, Scores
from models.zoo.linear import strongest_causes
from profiles.facts import Kind

ORDER_ITEMS_MAX: Final = 100
"""A larger order is a wholesaler's: it says little about what goes together, and pairs grow as its square."""
NEIGHBOURS: Final = 100
_GAP_MS: Final = 30 * 60_000
"""Purchases of one person less than this apart are one order."""


class BoughtTogether:
    """For each item the others in its orders, by what holding it makes likelier.

    score(i → j) = c · log(lift), c = n(ij)/(n(i) + shrink) and lift = n(ij)·N / (n(i)·n(j)); pairs in fewer
    than `support` orders, and pairs that chance alone would make (lift ≤ 1), count nothing. An order
    counts for less the older it is.
    """

    name: ClassVar[str] = "bought_together"
    personal: ClassVar[bool] = True

    def __init__(
        self, support: int = 3, shrink: float = 50, half_life_days: float | None = 365
    ) -> None:
        if support < 1 or shrink < 0:
            raise ValueError("bought_together: support must be above 0, shrink at least 0")
        self.support, self.shrink, self.half_life_days = support, shrink, half_life_days
        self._lift = sp.csr_matrix((0, 0), dtype=np.float32)

    def fit(self, interactions: Interactions, now_ms: int) -> Self:
        """Count pairs in orders before `now_ms`; where nobody ever buys, in visits."""
        known = interactions.until(now_ms)
        bought = known.purchases()
        known = bought if len(bought) else known
        if not len(known):
            raise NotEnoughData("bought_together: no interactions to learn from")
        orders, times = _orders(known, len(interactions.items))
        weights = np.ones(orders.shape[0], np.float32)
        if self.half_life_days is not None:
            weights = decay(now_ms - times, self.half_life_days)
        self._lift = self._lifts(orders, weights)
        return self

    def _lifts(self, orders: sp.csr_matrix, weights: npt.NDArray[np.float32]) -> sp.csr_matrix:
        # One product for both sums: the real part is weighed, the imaginary one counts.
        both = sp.csr_matrix(sp.diags((weights + 1j).astype(np.complex64)) @ orders)
        together = sp.csr_matrix(orders.T @ both)
        held = np.asarray(both.sum(axis=0)).ravel().real
        row = np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))
        enough = (together.data.imag > self.support - 0.5) & (row != together.indices)
        row, column, pair = row[enough], together.indices[enough], together.data[enough].real
        lift = pair * weights.sum() / np.maximum(held[row] * held[column], 1e-9)
        more = lift > 1
        row, column, pair, lift = row[more], column[more], pair[more], lift[more]
        values = (pair / (held[row] + self.shrink) * np.log(lift)).astype(np.float32)
        return _strongest(sp.csr_matrix((values, (row, column)), together.shape))

    def _basket(self, history: History) -> Codes:
        """The newest order, or where nothing was bought the newest visit."""
        bought = history.kinds == Kind.BOUGHT
        held = bought if bought.any() else np.ones(len(history), bool)
        times = history.times_ms[held]
        newest = times >= times.max(initial=0) - _GAP_MS
        return np.unique(history.items[held][newest]).astype(np.int32)

    def scores(self, history: History) -> Scores | None:
        """What goes with the newest order, apart from what is in it."""
        basket = self._basket(history)
        if not len(basket):
            return None
        scores = np.asarray(self._lift[basket].sum(axis=0), dtype=np.float32).ravel()
        scores[basket] = 0
        return scores

    def because(self, history: History, items: Codes) -> Codes | None:
        """The item of the newest order that each goes with most."""
        basket = self._basket(history)
        if not len(basket):
            return None
        return strongest_causes(self._lift[basket][:, items].toarray(), basket)

    def similar(self, item: int) -> Scores | None:
        """What is bought with the item."""
        return np.asarray(self._lift[[item]].toarray(), dtype=np.float32).ravel()

    def arrays(self) -> Mapping[str, npt.NDArray[Any]]:
        """The scores of pairs, in CSR form."""
        return {
            "data": self._lift.data, "indices": self._lift.indices, "indptr": self._lift.indptr,
        }  # fmt: skip

    def parameters(self) -> Mapping[str, float | int | str | None]:
        """Orders a pair needs, orders that are added to an item's own, the half-life."""
        return {
            "support": self.support, "shrink": self.shrink, "half_life_days": self.half_life_days,
        }  # fmt: skip

    @classmethod
    def restore(cls, parameters: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """From saved pairs."""
        made = cls(**parameters)
        size = len(arrays["indptr"]) - 1
        made._lift = sp.csr_matrix(
            (arrays["data"], arrays["indices"], arrays["indptr"]), shape=(size, size)
        )
        made._lift.check_format(full_check=True)
        return made


def _orders(known: Interactions, items: int) -> tuple[sp.csr_matrix, npt.NDArray[np.int64]]:
    """Orders × items, 1 where an order holds an item; and when each order was made."""
    order = np.lexsort((known.time_ms, known.user))
    user, item, time = known.user[order], known.item[order], known.time_ms[order]
    new = np.ones(len(user), bool)
    new[1:] = (user[1:] != user[:-1]) | (np.diff(time) > _GAP_MS)
    number = np.cumsum(new) - 1
    matrix = sp.csr_matrix(
        (np.ones(len(item), np.float32), (number, item)), shape=(int(number[-1]) + 1, items)
    )
    matrix.sum_duplicates()
    matrix.data[:] = 1
    fits = np.diff(matrix.indptr) <= ORDER_ITEMS_MAX
    return sp.csr_matrix(matrix[fits]), time[new][fits]


def _strongest(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The strongest neighbours of each row."""
    order = np.lexsort(
        (-matrix.data, np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)))
    )
    place = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], np.diff(matrix.indptr))
    kept = np.sort(order[place < NEIGHBOURS])
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    return sp.csr_matrix((matrix.data[kept], (rows, matrix.indices[kept])), matrix.shape)
