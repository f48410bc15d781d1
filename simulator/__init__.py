"""Data with a known answer: a real shop's orders, and a storefront whose every visit has a true person."""
