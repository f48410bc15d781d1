"""Who is who: identifiers, evidence, and the pure rules that make people of them."""
