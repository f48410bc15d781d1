"""The benchmark data as interactions. Online Retail II: purchases by customers; ML-1M: Anelli's folds."""

from pathlib import Path
from typing import Final

import pandas as pd

from models.interactions import About, Interactions

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


def retail_texts() -> dict[str, About]:
    """What Online Retail II calls each product most often."""
    lines = pd.read_parquet(
        DATA / "uci_online_retail_II.parquet", columns=["StockCode", "Description"]
    ).dropna()
    code = lines["StockCode"].str.strip().str.upper()
    named = lines["Description"][code.str.match(PRODUCT)].groupby(code)
    return {str(item): About(str(text)) for item, text in named.agg(lambda t: t.mode()[0]).items()}


def anelli_folds() -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """(train, test) user-item pairs of each fold: ratings of 4 and 5, 10-core, less the fold's test pairs.

    The published test folds overlap, since each was drawn on its own; training pairs are all the others.
    """
    ratings = pd.read_parquet(DATA / "ml1m_ratings_5fold.parquet")
    liked = ratings.loc[ratings["rating"] >= 4, ["user", "item"]]
    while True:
        before = len(liked)
        for column in ("user", "item"):
            liked = liked[liked.groupby(column)[column].transform("size") >= 10]
        if len(liked) == before:
            break
    tests = pd.read_parquet(DATA / "anelli_ml1m_test_folds.parquet")
    folds = []
    for _, test in tests.groupby("fold"):
        held_out = pd.MultiIndex.from_frame(test[["user", "item"]])
        train = liked[~pd.MultiIndex.from_frame(liked).isin(held_out)]
        folds.append((train, test[["user", "item"]]))
    return folds
