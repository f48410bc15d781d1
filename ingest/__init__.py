"""How events come in: decoded at the edge, recorded, folded and identified in batches."""
