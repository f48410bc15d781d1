"""The benchmark data as interactions. Online Retail II: purchases by customers; ML-1M: Anelli's folds."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from models.interactions import Interactions

DATA: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
PRODUCT: Final = r"^\d{5}[A-Z]{0,2}$"
"""Stock codes of products: five digits and at most two letters; POST, M, DOT, BANK … are charges."""


def online_retail() -> Interactions:
    """Order lines of Online Retail II that are purchases of products by known customers."""
    lines = pd.read_parquet(DATA / "uci_online_retail_II.parquet")
    code = lines["StockCode"].str.strip().str.upper()
    bought = lines[
        lines["Customer ID"].notna()
        & ~lines["Invoice"].str.startswith("C")
        & (lines["Quantity"] > 0)
        & (lines["Price"] > 0)
        & code.str.match(PRODUCT)
    ]
    table = pd.DataFrame(
        {
            "user": bought["Customer ID"].astype(int).astype(str),
            "item": code[bought.index],
            "time_ms": bought["InvoiceDate"],
            "quantity": bought["Quantity"].astype(float),
        }
    )
    return Interactions.from_table(table, quantity="quantity")


def anelli_folds() -> list[tuple[Any, Any]]:
    """(train, test) user-item pairs of each fold: the union of the five test folds, less the fold's own."""
    frame = pd.read_parquet(DATA / "anelli_ml1m_test_folds.parquet")
    pairs = frame.rename(columns=str.lower)
    fold = next(name for name in pairs.columns if "fold" in name)
    user, item = (next(n for n in pairs.columns if n.startswith(p)) for p in ("user", "item"))
    users, user_codes = np.unique(pairs[user], return_inverse=True)
    items, item_codes = np.unique(pairs[item], return_inverse=True)
    coded = pd.DataFrame({"user": user_codes, "item": item_codes, "fold": pairs[fold]})
    whole = coded[["user", "item"]].drop_duplicates()
    folds = []
    for _, test in coded.groupby("fold"):
        keys = set(zip(test["user"], test["item"], strict=True))
        train = whole[[key not in keys for key in zip(whole["user"], whole["item"], strict=True)]]
        folds.append((train, test[["user", "item"]]))
    return folds
